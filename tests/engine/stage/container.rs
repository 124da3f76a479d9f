//! Containers of chatter, and what `docker logs` shows of them.

use std::fmt;
use std::io::{BufRead, BufReader};
use std::process::{Child, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::{Engine, IMAGE_NAME, Scene, eventually, patience, short, text};

/// A container that is not started yet.
pub struct Draft<'a> {
    pub(super) scene: &'a Scene<'a>,
    pub(super) name: String,
    pub(super) driver: String,
    pub(super) arguments: Vec<String>,
}

/// A container. It is removed with the value.
pub struct Container<'a> {
    engine: &'a Engine,
    pub name: String,
}

/// What `docker logs` printed.
#[derive(PartialEq, Eq)]
pub struct Logs {
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

/// A `docker logs -f` that is running.
pub struct Follower {
    child: Child,
    lines: mpsc::Receiver<String>,
}

// === impl Draft ===

impl<'a> Draft<'a> {
    /// What it will be called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// An option of the log driver.
    pub fn option(self, name: &str, value: &str) -> Self {
        self.argument("--log-opt").argument(&format!("{name}={value}"))
    }

    /// An argument of `docker run`.
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Runs it to its end; also gives what `docker run` printed, and its status.
    pub fn run(self, steps: &[&str]) -> (Container<'a>, Output) {
        let (_, output) = self.scene.engine.try_docker(self.command("run", &[], steps));
        (self.container(), output)
    }

    /// Runs it to its end, which has to be a good one.
    pub fn run_well(self, steps: &[&str]) -> Container<'a> {
        let name = self.name.clone();
        let (container, output) = self.run(steps);
        assert!(output.status.success(), "{name}: {}: {}", output.status, text(&output.stderr));
        container
    }

    /// Starts it and leaves it alone.
    pub fn start(self, steps: &[&str]) -> Container<'a> {
        self.scene.engine.docker(self.command("run", &["--detach"], steps));
        self.container()
    }

    /// Makes it and does not start it.
    pub fn create(self, steps: &[&str]) -> Container<'a> {
        self.scene.engine.docker(self.command("create", &[], steps));
        self.container()
    }

    /// Starts a container that prints what is written to it, a line each, until that ends.
    pub fn start_echo(self) -> (Container<'a>, Child) {
        let command = self.command("run", &["--interactive"], &["echo"]);
        let mut command = self.scene.engine.command(command);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let container = self.container();
        eventually("the container runs", || {
            let (_, state) =
                container.engine.try_docker(["inspect", "--format", "{{.State.Running}}", &container.name]);
            text(&state.stdout).trim_end() == "true"
        });
        (container, child)
    }

    fn command(&self, verb: &str, flags: &[&str], steps: &[&str]) -> Vec<String> {
        let name = ["--name", &self.name, "--network", "none", "--log-driver", &self.driver];
        let own = self.arguments.iter().map(String::as_str);
        let parts = [verb].into_iter().chain(name).chain(flags.iter().copied()).chain(own);
        parts.chain([IMAGE_NAME]).chain(steps.iter().copied()).map(str::to_owned).collect()
    }

    fn container(self) -> Container<'a> {
        Container { engine: self.scene.engine, name: self.name }
    }
}

// === impl Container ===

impl Container<'_> {
    /// A docker command about it, which has to succeed; the name comes last.
    pub fn docker(&self, arguments: &[&str]) -> String {
        self.engine.docker(arguments.iter().chain([&self.name.as_str()]))
    }

    /// The same, and how long it took.
    pub fn timed(&self, arguments: &[&str]) -> Duration {
        let start = Instant::now();
        self.docker(arguments);
        start.elapsed()
    }

    /// Waits until it has ended, and gives its status.
    pub fn wait(&self) -> i32 {
        self.docker(&["wait"]).parse().unwrap()
    }

    /// One field of `docker inspect`.
    pub fn inspect(&self, format: &str) -> String {
        self.docker(&["inspect", "--format", format])
    }

    /// `docker logs`, which has to succeed.
    #[track_caller]
    pub fn logs(&self, arguments: &[&str]) -> Logs {
        let (said, output) = self.try_logs(arguments);
        assert!(output.status.success(), "{said}: {}", text(&output.stderr));
        Logs { stdout: output.stdout, stderr: output.stderr }
    }

    pub fn try_logs(&self, arguments: &[&str]) -> (String, Output) {
        self.engine.try_docker(["logs"].iter().chain(arguments).chain([&self.name.as_str()]))
    }

    /// What `docker logs` shows of stdout, by line.
    #[track_caller]
    pub fn lines(&self, arguments: &[&str]) -> Vec<String> {
        self.logs(arguments).lines()
    }

    /// `docker logs -f`, from here on to its end.
    pub fn follow(&self, arguments: &[&str]) -> Follower {
        let mut command =
            self.engine.command(["logs", "--follow"].iter().chain(arguments).chain([&self.name.as_str()]));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Follower { child, lines }
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        // One that a test has removed is not missed.
        self.engine.remove(&["rm", "--force", &self.name]);
    }
}

// === impl Logs ===

impl Logs {
    /// stdout by line.
    pub fn lines(&self) -> Vec<String> {
        text(&self.stdout).lines().map(str::to_owned).collect()
    }
}

impl fmt::Debug for Logs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stdout {}, stderr {}", short(&self.stdout), short(&self.stderr))
    }
}

// === impl Follower ===

impl Follower {
    /// The next line, when it comes.
    #[track_caller]
    pub fn next(&self) -> String {
        self.lines.recv_timeout(patience()).expect("another line of docker logs -f")
    }

    /// What else comes until it ends by itself, with success.
    #[track_caller]
    pub fn rest(mut self) -> Vec<String> {
        let deadline = Instant::now() + patience();
        let mut rest = Vec::new();
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => rest.push(line),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("docker logs -f did not end"),
            }
        }
        let status = self.child.wait().unwrap();
        assert!(status.success(), "docker logs -f ended with {status}");
        rest
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
