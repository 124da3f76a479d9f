//! From a request to an answer: paths, tenants, and the failures that were ordered.
//!
//! Rule: `POST /loki/api/v1/push` (old name: `/api/prom/push`); another method there is 405,
//! another path 404. With `auth_enabled` a request needs `X-Scope-OrgID` (401 without, 400 if it is
//! not a good name); else the tenant is `fake` and the header is not looked at. `/ready` and
//! `/standin/…` need no tenant.

use super::answer::Answer;
use super::control;
use super::distributor;
use super::faults::Failure;
use super::form;
use super::push;
use super::query::Question;
use super::server::Door;
use super::state::Shared;
use super::visit::{Reading, Visit, read};
use hyper::Method;
use hyper::body::{Body, Incoming};
use std::sync::Arc;
use tokio::time::sleep;

/// Where a push goes.
pub const PUSH_PATHS: [&str; 2] = ["/loki/api/v1/push", "/api/prom/push"];

/// The tenant when there are none.
const ANYBODY: &str = "fake";

/// Answers a request; does not return if there is to be no answer.
pub async fn serve(request: hyper::Request<Incoming>, shared: Arc<Shared>, door: Door) -> Answer {
    let path = request.uri().path().to_owned();
    if path.starts_with("/standin/") {
        return control::serve(request, &shared, &door).await;
    }
    let visit = Visit::new(&shared, &request);
    match path.as_str() {
        path if PUSH_PATHS.contains(&path) => match request.method() {
            &Method::POST => serve_push(request, visit, &door).await,
            _ => visit.done(Answer::empty(405)),
        },
        "/ready" => match request.method() {
            &Method::GET | &Method::HEAD => visit.done(Answer::text(200, "ready\n")),
            _ => visit.done(Answer::empty(405)),
        },
        _ => serve_query(request, visit).await,
    }
}

async fn serve_push(request: hyper::Request<Incoming>, mut visit: Visit, door: &Door) -> Answer {
    let is_let_in = match &visit.shared.look().demanded {
        None => true,
        Some((name, value)) => request.headers().get(name).is_some_and(|given| given.as_bytes() == value.as_bytes()),
    };
    if !is_let_in {
        let _ = read(request.into_body(), &Reading { most: usize::MAX, ..Reading::default() }, &mut visit).await;
        return visit.done(Answer::text(401, "who are you?"));
    }
    let ordered = visit.shared.change(|state| state.script.for_any());
    let mut reading = Reading { most: visit.shared.look().limits.max_recv_msg_size, ..Reading::default() };
    match ordered {
        Some(Failure::SlowRead { bytes_per_second }) => reading.pace = Some(bytes_per_second),
        Some(Failure::Reset { after_bytes }) => reading.stop = Some(after_bytes),
        Some(Failure::Early { code, above_bytes }) if request.body().size_hint().lower() > above_bytes => {
            return visit.done(Answer { closes: true, ..Answer::empty(code) });
        }
        _ => {}
    }
    let header = |name| {
        let value = request.headers().get(name)?;
        Some(value.to_str().unwrap_or_default().to_owned())
    };
    let (kind, encoding) = (header("content-type"), header("content-encoding"));
    let tenant = tenant(&request, visit.shared.look().auth);
    let body = match read(request.into_body(), &reading, &mut visit).await {
        Ok(body) => body,
        Err(answer) => return visit.done(answer),
    };
    if reading.stop.is_some() {
        return visit.reset(door).await;
    }
    let decoded = tenant.and_then(|tenant| {
        let limits = visit.shared.look().limits.clone();
        let push = push::decode(kind.as_deref(), encoding.as_deref(), body, &limits)?;
        Ok((tenant, push))
    });
    let mut failure = ordered;
    if let Ok((_, push)) = &decoded {
        visit.note(push);
        if failure.is_none() {
            failure = visit.shared.change(|state| state.script.for_content(push));
        }
    }
    let store = || match &decoded {
        Err(answer) => answer.clone(),
        Ok((tenant, push)) => visit.shared.change(|state| {
            let answer = distributor::push(&mut state.store, &state.limits, tenant, push);
            answer.dated(state.limits.clock_ahead)
        }),
    };
    match failure {
        None | Some(Failure::SlowRead { .. } | Failure::Early { .. }) => {
            let answer = store();
            visit.done(answer)
        }
        Some(Failure::Status { code, body }) => visit.done(Answer::text(code, body)),
        Some(Failure::Proxy { code, content_type, body, retry_after }) => {
            visit.done(Answer::of_proxy(code, &content_type, body, retry_after.as_deref()))
        }
        Some(Failure::Stall { code, body }) => visit.done(Answer { stalls: true, ..Answer::text(code, body) }),
        Some(Failure::Redirect { to }) => visit.done(Answer::redirect(to)),
        Some(Failure::Hang) => visit.hang().await,
        Some(Failure::Delay(time)) => {
            let answer = store();
            sleep(time).await;
            visit.done(answer)
        }
        Some(Failure::Reset { .. }) => visit.reset(door).await,
        Some(Failure::StoreThenStatus { code, body }) => {
            store();
            visit.done(Answer::text(code, body))
        }
        Some(Failure::StoreThenReset) => {
            store();
            visit.reset(door).await
        }
        Some(Failure::StoreThenHang) => {
            store();
            visit.hang().await
        }
    }
}

async fn serve_query(request: hyper::Request<Incoming>, mut visit: Visit) -> Answer {
    let path = request.uri().path().to_owned();
    let mut parameters = form::parameters(request.uri().query().unwrap_or_default());
    let flags = request.headers().get("x-loki-response-encoding-flags");
    let categorize = flags.is_some_and(|flags| flags.as_bytes() == b"categorize-labels");
    let tenant = tenant(&request, visit.shared.look().auth);
    if request.method() == Method::POST {
        let reading = Reading { most: 1 << 20, ..Reading::default() };
        match read(request.into_body(), &reading, &mut visit).await {
            Ok(form) => parameters.extend(form::parameters(&String::from_utf8_lossy(&form))),
            Err(answer) => return visit.done(answer),
        }
    }
    let answer = tenant.map_or_else(
        |refusal| refusal,
        |tenant| {
            let state = visit.shared.look();
            let question = Question {
                store: &state.store,
                limits: &state.limits,
                tenant: &tenant,
                parameters: &parameters,
                categorize,
            };
            match path.strip_prefix("/loki/api/v1/") {
                Some("query_range") => question.logs(),
                Some("query") => question.count(),
                Some("labels" | "label") => question.labels(),
                Some("series") => question.series(),
                Some(rest) => match rest.strip_prefix("label/").and_then(|it| it.strip_suffix("/values")) {
                    Some(name) => question.values(name),
                    None => not_found(),
                },
                None => not_found(),
            }
        },
    );
    visit.done(answer)
}

fn not_found() -> Answer {
    Answer::error(404, "404 page not found")
}

/// Whose request it is.
fn tenant(request: &hyper::Request<Incoming>, auth: bool) -> Result<String, Answer> {
    if !auth {
        return Ok(ANYBODY.to_owned());
    }
    let header = request.headers().get("x-scope-orgid").map(|it| it.as_bytes());
    let name = String::from_utf8_lossy(header.unwrap_or_default()).into_owned();
    let allowed = |c: char| c.is_ascii_alphanumeric() || "!-_.*'():".contains(c);
    let mut several = name.split('|');
    let first = several.next().unwrap_or_default();
    if name.is_empty() {
        Err(Answer::error(401, "no org id"))
    } else if several.any(|other| other != first) {
        Err(Answer::error(400, "multiple org IDs present"))
    } else if first == "." || first == ".." {
        Err(Answer::error(400, "tenant ID is '.' or '..'"))
    } else if first.len() > 150 {
        Err(Answer::error(400, "tenant ID is too long: max 150 characters"))
    } else if let Some(c) = first.chars().find(|c| !allowed(*c)) {
        let sentence = format!("tenant ID '{first}' contains unsupported character '{c}'");
        Err(Answer::error(400, sentence))
    } else {
        Ok(first.to_owned())
    }
}
