//! What a scene on a real engine is played with: a dockerd of our own, the plugin as it was built, a stand-in Loki.
//!
//! ```text
//! a test ──docker──▶ dockerd ──HTTP and FIFOs──▶ plugin ──HTTP──▶ standin (in this process)
//!                       └──runs──▶ chatter
//! ```
//!
//! * [`Engine`] is a dockerd by `plugin/engine.sh`, in namespaces of its own. Most scenes share one, see
//!   [`Engine::shared`]; it ends with this process, however that ends.
//! * [`Plugin`] is one installation. Most scenes share that too; those that hurt it have one under a name of their own.
//! * [`Scene`] has a Loki and names to itself, so that scenes do not meet. [`Container`] is one container of it.
//!
//! Nothing sleeps in the hope that something has happened: everything waits for what it wants to see, for at most
//! [`patience`]. When a test fails, the end of dockerd's log is printed, in which the plugin's is contained.

use nix::libc;
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

pub use crate::harness::patience;
use crate::harness::plugin::memory_of;
use crate::standin::Standin;

/// The folder that `make plugin` lays out: config.json and rootfs.
const LAYOUT: &str = "LOKI_RS_PLUGIN";

/// The image of chatter as a tar file, see `tests/chatter/build.sh`.
const IMAGE: &str = "LOKI_RS_IMAGE";

/// What the image is called on an engine.
pub const IMAGE_NAME: &str = "chatter";

/// Lines of each log that are shown when a test fails.
const SHOWN: usize = 40;

/// Waits until a condition holds; `what` says in words what was waited for.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience();
    while !condition() {
        assert!(Instant::now() < deadline, "it did not come to this: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A Docker Engine with chatter's image on it.
pub struct Engine {
    dir: PathBuf,
    process: Mutex<Option<Process>>,
}

struct Process {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// A plugin as it is installed and enabled.
pub struct Plugin<'a> {
    pub engine: &'a Engine,
    pub name: String,
    pub id: String,
}

/// A test's own stage.
pub struct Scene<'a> {
    name: String,
    pub engine: &'a Engine,
    pub plugin: &'a Plugin<'a>,
    pub loki: Standin,
}

/// A container that is not started yet.
pub struct Draft<'a> {
    scene: &'a Scene<'a>,
    name: String,
    driver: String,
    arguments: Vec<String>,
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

// === impl Engine ===

impl Engine {
    /// The one that most scenes share. It is started by the first that asks.
    pub fn shared() -> &'static Engine {
        static SHARED: OnceLock<Engine> = OnceLock::new();
        SHARED.get_or_init(|| {
            let engine = Engine::start();
            at_exit();
            engine
        })
    }

    /// One to do with as a test likes. It ends with the value.
    pub fn start() -> Engine {
        let layout = given(LAYOUT);
        assert!(
            layout.join("rootfs/loki-rs").is_file(),
            "{LAYOUT} names {}, where there is no plugin",
            layout.display()
        );
        let image = given(IMAGE);
        // Unix sockets are in it, whose names may not be long.
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("loki-rs-test-{}-{number}", std::process::id()));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugin/engine.sh");
        let mut child = Command::new(&script)
            .arg(&dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", script.display()));
        let orders = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let mut process = Process { child, orders, answers };
        assert_eq!(process.answer(), "ready\n", "the private Docker Engine does not start; what it said is above");
        let engine = Engine { dir, process: Mutex::new(Some(process)) };
        let change = "ENTRYPOINT [\"/chatter\"]";
        engine.docker(["import", "--change", change, image.to_str().unwrap(), IMAGE_NAME]);
        engine
    }

    /// Says what daemon.json has, from the next start of dockerd on.
    pub fn configure(&self, daemon: &serde_json::Value) {
        fs::write(self.dir.join("daemon.json"), daemon.to_string()).unwrap();
    }

    /// Stops dockerd as an init system does, and starts it again.
    pub fn restart(&self) {
        self.order("restart");
    }

    /// Kills dockerd, and starts it again.
    pub fn kill(&self) {
        self.order("kill");
    }

    /// Mounts something as the engine sees the machine; false when mount(8) refuses.
    pub fn mount(&self, arguments: &str) -> bool {
        self.ask(&format!("mount {arguments}")) == "ready\n"
    }

    /// Runs the docker command, which has to succeed, and gives what it wrote to stdout.
    pub fn docker<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> String {
        let (said, output) = self.try_docker(arguments);
        assert!(output.status.success(), "{said}: {}", text(&output.stderr));
        text(&output.stdout).trim_end().to_owned()
    }

    /// Runs the docker command; also gives its arguments for a complaint.
    pub fn try_docker<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> (String, Output) {
        let (said, output) = self.run(arguments);
        assert_ne!(output.status.code(), Some(124), "{said} did not come to its end");
        (said, output)
    }

    /// Removes something at the end of a test, which may have failed: the reason for that is to be read and not this.
    fn remove(&self, arguments: &[&str]) {
        let (said, output) = self.run(arguments);
        if !output.status.success() {
            eprintln!("{said}: {}", text(&output.stderr));
        }
    }

    fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> (String, Output) {
        let docker = self.command(arguments);
        // A test that hangs says nothing.
        let mut command = Command::new("timeout");
        command
            .arg("--kill-after=1")
            .arg(patience().as_secs().to_string())
            .arg(docker.get_program())
            .args(docker.get_args());
        command.envs(docker.get_envs().filter_map(|(name, value)| Some((name, value?)))).stdin(Stdio::null());
        let said = format!("docker {:?}", docker.get_args().skip(2).collect::<Vec<_>>());
        let output = command.output().unwrap_or_else(|error| panic!("cannot run docker: {error}"));
        (said, output)
    }

    /// The docker command for this engine, whatever the environment says.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new("docker");
        command.args(["--host", &format!("unix://{}/docker.sock", self.dir.display())]);
        command.args(arguments).env("DOCKER_CONFIG", &self.dir).env("DOCKER_CONTEXT", "");
        command
    }

    /// Installs the plugin that was built, under a name.
    pub fn install<'a>(&'a self, name: &str, settings: &[&str]) -> Plugin<'a> {
        let layout = self.lay_out(name);
        self.docker([OsStr::new("plugin"), "create".as_ref(), name.as_ref(), layout.as_ref()]);
        if !settings.is_empty() {
            self.docker(["plugin", "set", name].iter().chain(settings));
        }
        self.docker(["plugin", "enable", "--timeout", "0", name]);
        self.installed(name)
    }

    /// A plugin that was installed by other means.
    pub fn installed<'a>(&'a self, name: &str) -> Plugin<'a> {
        let id = self.docker(["plugin", "inspect", "--format", "{{.ID}}", name]);
        Plugin { engine: self, name: name.to_owned(), id }
    }

    /// A copy of the folder that was built, for `docker plugin create`.
    pub fn lay_out(&self, name: &str) -> PathBuf {
        // dockerd has no room for two plugins of the same content. The time of a file is enough of a difference.
        static LAID_OUT: AtomicU64 = AtomicU64::new(1);
        let layout = self.dir.join(format!("layout-{name}"));
        let binary = layout.join("rootfs/loki-rs");
        fs::create_dir_all(layout.join("rootfs")).unwrap();
        for file in ["config.json", "rootfs/loki-rs"] {
            fs::copy(given(LAYOUT).join(file), layout.join(file)).unwrap();
        }
        let time = UNIX_EPOCH + Duration::from_secs(LAID_OUT.fetch_add(1, Ordering::Relaxed));
        fs::File::options().append(true).open(binary).and_then(|file| file.set_modified(time)).unwrap();
        layout
    }

    /// A folder of a test's own, which goes with the engine.
    pub fn folder(&self, name: &str) -> PathBuf {
        let folder = self.dir.join(name);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// What dockerd has logged, its plugins' output included.
    pub fn log(&self) -> String {
        fs::read(self.dir.join("dockerd.log")).map(|log| text(&log)).unwrap_or_default()
    }

    fn order(&self, word: &str) {
        assert_eq!(self.ask(word), "ready\n", "the private Docker Engine does not {word}; what it said is above");
    }

    fn ask(&self, order: &str) -> String {
        let mut process = lock(&self.process);
        let process = process.as_mut().expect("the engine has ended");
        writeln!(process.orders, "{order}").unwrap();
        process.answer()
    }

    /// For a test that failed.
    fn print_log(&self) {
        let log = self.log();
        // dockerd puts the plugin's id to each line that the plugin has written.
        let (plugins, own): (Vec<&str>, Vec<&str>) = log.lines().partition(|line| line.contains(" plugin="));
        for (whose, lines) in [("dockerd's", own), ("the plugins'", plugins)] {
            eprintln!("the end of {whose} log:\n{}", lines[lines.len().saturating_sub(SHOWN)..].join("\n"));
        }
    }

    /// Lets it end, and waits for that.
    fn end(&self) {
        if let Some(Process { mut child, orders, .. }) = lock(&self.process).take() {
            drop(orders);
            let _ = child.wait();
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if thread::panicking() {
            self.print_log();
        }
        self.end();
    }
}

impl Process {
    fn answer(&mut self) -> String {
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        answer
    }
}

/// Statics are not dropped. The shared engine would end by itself when this process has, but whoever waits for the
/// tests shall find nothing of it left.
fn at_exit() {
    unsafe extern "C" {
        fn atexit(hook: extern "C" fn()) -> i32;
    }
    extern "C" fn end() {
        Engine::shared().end();
    }
    // SAFETY: the hook unwinds into nothing; it is called once, from the thread that calls exit.
    unsafe { atexit(end) };
}

// === impl Plugin ===

impl Plugin<'static> {
    /// The one that most scenes share, with no settings.
    pub fn shared() -> &'static Plugin<'static> {
        static SHARED: OnceLock<Plugin<'static>> = OnceLock::new();
        SHARED.get_or_init(|| Engine::shared().install("loki-rs", &[]))
    }
}

impl Plugin<'_> {
    /// Its process. The kernel tells: it is the one whose root is the plugin's.
    pub fn pid(&self) -> Option<u32> {
        let root = fs::metadata(self.folder().join("rootfs")).ok()?;
        let is_ours = |pid: &u32| {
            let theirs = fs::metadata(format!("/proc/{pid}/root/"));
            theirs.is_ok_and(|theirs| (theirs.dev(), theirs.ino()) == (root.dev(), root.ino()))
        };
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.find(is_ours)
    }

    /// Kills it as the kernel does when memory is short, at the moment when `wait` returns, and waits until dockerd has
    /// started it again and counts on it: half a second after a start it looks whether the plugin answers, and gives it
    /// up for good if it does not.
    pub fn kill_after(&self, wait: impl FnOnce()) {
        let (pid, record) = (self.pid().expect("the plugin is running"), self.record());
        wait();
        // SAFETY: kill(2) touches no memory. Nobody has waited for the process yet, so the id is still its own.
        assert_eq!(unsafe { libc::kill(pid as libc::pid_t, libc::SIGKILL) }, 0, "it can be killed");
        eventually("dockerd starts the plugin again", || {
            self.record() != record && self.pid().is_some_and(|next| next != pid)
        });
    }

    /// Kills it now.
    pub fn kill(&self) {
        self.kill_after(|| ());
    }

    /// Which version this is of what dockerd has on disk about it. It writes that anew after each good start.
    fn record(&self) -> Option<(u64, i64, i64)> {
        let file = fs::metadata(self.folder().join("config.json")).ok()?;
        Some((file.ino(), file.ctime(), file.ctime_nsec()))
    }

    /// Resident memory that is not a file's, in KiB.
    pub fn memory(&self) -> u64 {
        memory_of(self.pid().expect("the plugin is running"))
    }

    /// How many files it has open.
    pub fn files(&self) -> usize {
        let pid = self.pid().expect("the plugin is running");
        fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
    }

    /// What is left of streams: FIFOs, and records of who writes to them.
    pub fn leftovers(&self) -> Vec<PathBuf> {
        let mount = self.folder().join("propagated-mount");
        let folders = [mount.clone(), mount.join("loki-rs/streams")].map(fs::read_dir);
        let entries = folders.into_iter().flatten().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| !path.ends_with("loki-rs")).collect()
    }

    /// Disables it, as somebody does who does not force it.
    pub fn disable(&self) {
        self.engine.docker(["plugin", "disable", &self.name]);
    }

    /// Where dockerd keeps it.
    pub fn folder(&self) -> PathBuf {
        self.engine.dir.join("data/plugins").join(&self.id)
    }
}

impl Drop for Plugin<'_> {
    fn drop(&mut self) {
        self.engine.remove(&["plugin", "rm", "--force", &self.name]);
    }
}

// === impl Scene ===

impl<'a> Scene<'a> {
    /// A scene on the shared engine with the shared plugin.
    pub fn new(name: &str) -> Scene<'static> {
        Scene::with(name, Plugin::shared())
    }

    /// A scene with a plugin to itself. Its name begins the names of containers.
    pub fn with(name: &str, plugin: &'a Plugin<'a>) -> Scene<'a> {
        Scene { name: name.to_owned(), engine: plugin.engine, plugin, loki: Standin::start() }
    }

    /// A container that logs through the plugin to this scene's Loki.
    pub fn container(&'a self, name: &str) -> Draft<'a> {
        let url = self.loki.push_url();
        self.bare_container(name, &self.plugin.name).option("loki-url", &url)
    }

    /// A container that logs through a driver, with no options.
    pub fn bare_container(&'a self, name: &str, driver: &str) -> Draft<'a> {
        let name = format!("{}-{name}", self.name);
        Draft { scene: self, name, driver: driver.to_owned(), arguments: Vec::new() }
    }

    /// What Loki has of a container, in the order of arrival.
    pub fn lines(&self, container: &Container) -> Vec<String> {
        let lines = self.loki.lines(&[("container_name", &container.name)]);
        lines.iter().map(|line| text(line)).collect()
    }

    /// Waits until Loki has as many lines of a container as are expected, and compares all of them.
    #[track_caller]
    pub fn expect_lines<S: AsRef<[u8]>>(&self, container: &Container, expected: impl IntoIterator<Item = S>) {
        let expected: Vec<S> = expected.into_iter().collect();
        let labels = [("container_name", container.name.as_str())];
        let came = self.loki.wait_for(|state| state.count(&labels) >= expected.len(), patience());
        let lines = self.loki.lines(&labels);
        assert!(came, "Loki has {} lines of {} instead of {}", lines.len(), container.name, expected.len());
        for (at, (line, expected)) in lines.iter().zip(&expected).enumerate() {
            let expected = expected.as_ref();
            assert!(line == expected, "line {at} in Loki is {} instead of {}", short(line), short(expected));
        }
        assert_eq!(lines.len(), expected.len(), "lines of {} in Loki", container.name);
    }
}

impl Drop for Scene<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.engine.print_log();
        }
    }
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

// === texts ===

/// `line 1` to `line N`, as chatter writes them.
pub fn numbered(count: usize) -> Vec<String> {
    (1..=count).map(|n| format!("line {n}")).collect()
}

/// Bytes as text, whatever they are.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Where two lists of lines part, for a complaint; `None` if they do not.
pub fn difference(lines: &[String], expected: &[String]) -> Option<String> {
    let at = (0..lines.len().max(expected.len())).find(|at| lines.get(*at) != expected.get(*at))?;
    let around = |all: &[String]| all[at.saturating_sub(2).min(all.len())..(at + 3).min(all.len())].join(", ");
    let counts = format!("{} lines instead of {}", lines.len(), expected.len());
    Some(format!("{counts}; at {at}: \"{}\" instead of \"{}\"", around(lines), around(expected)))
}

/// Enough of the bytes to see what they are.
fn short(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(200)];
    format!("{} bytes \"{}\"", bytes.len(), shown.escape_ascii())
}

fn given(variable: &str) -> PathBuf {
    match std::env::var_os(variable) {
        Some(path) => path.into(),
        None => panic!("the tests on a real engine need {variable}, which `make test` sets"),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
