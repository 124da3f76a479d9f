//! A bystander is a second container that must not be affected by what is done to the first.

use super::dockerd::Run;
use super::{Scene, assert_same, numbered};

/// The second container.
pub struct Bystander {
    pub run: Run,
    pub written: Vec<String>,
}

impl Bystander {
    pub fn new(scene: &Scene) -> Self {
        let bystander = Self { run: scene.container("bystander").start(), written: vec!["before".into()] };
        bystander.run.out("before");
        bystander
    }

    pub fn must_be_unharmed(mut self, scene: &Scene) {
        let more = numbered("after", 200, 100);
        self.run.out_all(&more);
        self.written.extend(more);
        scene.assert_lines_in_loki("bystander", &self.written);
        assert_same(&self.run.lines(), &self.written);
        self.run.stop();
    }
}
