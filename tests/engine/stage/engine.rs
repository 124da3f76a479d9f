//! A dockerd by `plugin/engine.sh`.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use super::{Plugin, patience, text};

/// The folder that `make plugin` lays out: config.json and rootfs.
const LAYOUT: &str = "LOKI_RS_PLUGIN";

/// The image of chatter as a tar file, see `tests/chatter/build.sh`.
const IMAGE: &str = "LOKI_RS_IMAGE";

/// What the image is called on an engine.
pub const IMAGE_NAME: &str = "chatter";

/// Lines of each log that are shown when a test fails.
const SHOWN: usize = 40;

/// Repetitions of a command that dockerd refuses because a plugin is in use.
const MOST_REPEATS: usize = 100;

/// A Docker Engine with chatter's image on it.
pub struct Engine {
    pub(super) dir: PathBuf,
    process: Mutex<Option<Process>>,
}

struct Process {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
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
    ///
    /// dockerd releases the plugin of a container some time after the container has ended: until then the command is repeated.
    pub fn docker<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> String {
        let arguments: Vec<_> = arguments.into_iter().map(|argument| argument.as_ref().to_owned()).collect();
        let mut last = self.try_docker(&arguments);
        for _ in 0..MOST_REPEATS {
            if !text(&last.1.stderr).contains("is in use") {
                break;
            }
            thread::sleep(Duration::from_millis(100));
            last = self.try_docker(&arguments);
        }
        let (said, output) = last;
        assert!(output.status.success(), "{said}: {}", text(&output.stderr));
        text(&output.stdout).trim_end().to_owned()
    }

    /// Runs the docker command; also gives its arguments for a complaint.
    pub fn try_docker<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> (String, Output) {
        let (said, output) = self.run(arguments);
        assert_ne!(output.status.code(), Some(124), "{said} did not come to its end");
        (said, output)
    }

    /// Removes something at the end of a test. Errors are ignored, so that the reason of a failed test stays visible.
    pub(super) fn remove(&self, arguments: &[&str]) {
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

    /// Prints the end of the log after a failed test.
    pub(super) fn print_log(&self) {
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

/// Statics are not dropped. The shared engine would end by itself after this process, but it must be gone when the
/// process that waits for the tests continues.
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

fn given(variable: &str) -> PathBuf {
    match std::env::var_os(variable) {
        Some(path) => path.into(),
        None => panic!("the tests on a real engine need {variable}, which `make test` sets"),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
