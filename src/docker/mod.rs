//! The log-driver plugin protocol, as dockerd speaks it.
//!
//! All calls are POST over a unix socket. dockerd sends an empty Host (20.10) and no content type, looks at no content
//! type of ours, and decodes the first JSON value of the answer; an empty answer is an error to it.
//!
//! | path | asked | answered |
//! |---|---|---|
//! | `/Plugin.Activate` | nothing | `{"Implements":["LogDriver"]}`; only plugins in `/run/docker/plugins` are asked |
//! | `/LogDriver.Capabilities` | nothing; before every start | `{"Cap":{"ReadLogs":true},"Err":""}` |
//! | `/LogDriver.StartLogging` | `{"File":…,"Info":{…}}` | `{"Err":""}`, or why the container is not started |
//! | `/LogDriver.StopLogging` | `{"File":…}` | `{"Err":""}`, always |
//! | `/LogDriver.ReadLogs` | `{"Info":{…},"Config":{…}}` | frames, until the end of the body |
//!
//! What is not obvious, found out on a live engine:
//!
//! * A mistake is answered with status 200 and `Err`: dockerd shows the bare text. Any other status shows its body
//!   with the call's name before it.
//! * dockerd retries a call whose connection broke, and **the retry has an empty body**. An empty StopLogging
//!   therefore reads every FIFO empty and answers success; an empty StartLogging cannot be served.
//! * An error from StopLogging leaks dockerd's reference to the plugin until dockerd restarts: there is never one.
//! * dockerd asks for the log of a container that is not running by starting a stream, reading, and stopping it.
//!   Nothing in the call tells that from a container that starts.
//! * dockerd closes the FIFO only after StopLogging was answered, and does not end a `docker logs -f`: the plugin must.
//!
//! * [`server`]: connections; [`routes`]: path to handler; [`dockerd::messages`]: the JSON; [`read_logs`]: ring to body.

pub mod read_logs;
pub mod routes;
pub mod server;
