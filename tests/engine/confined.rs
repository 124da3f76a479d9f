//! What a managed plugin has given up on a real engine, while it does its work.

use super::stage::{Scene, numbered};
use crate::confined::assert_confined;

#[test]
fn a_managed_plugin_is_confined_and_logs_on() {
    let scene = Scene::new("confined");
    let container = scene.container("job").run_well(&["lines:3"]);
    scene.expect_lines(&container, numbered(3));
    assert_eq!(container.lines(&[]), numbered(3));
    assert_confined(scene.plugin.pid().expect("it runs"));
}
