//! The privileges that the running plugin has dropped.

use std::fs;

use crate::harness::Scene;

#[test]
fn the_plugin_keeps_one_capability_and_can_neither_run_programs_nor_dump_core() {
    let scene = Scene::new();
    let run = scene.container("web").start();
    run.out("line");
    scene.assert_lines_in_loki("web", &["line"]);
    assert_confined(scene.plugin.pid());
}

/// Checks a process by what the kernel reports about it.
pub fn assert_confined(pid: u32) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let value = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {status}")).trim()
    };
    // CAP_DAC_OVERRIDE: files of secrets may belong to other users.
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        let held = u64::from_str_radix(value(set), 16).expect("a mask");
        assert_eq!(held & !(1 << 1), 0, "{set} {held:x}");
    }
    assert_eq!((value("NoNewPrivs:"), value("Seccomp:")), ("1", "2"));
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("it runs");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a limit");
    assert_eq!(core.split_whitespace().filter(|word| *word == "0").count(), 2, "{core}");
}
