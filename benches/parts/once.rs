//! The hot parts alone, each once, for a counter of instructions (`benches/instructions.sh`).
//!
//! Without an argument it prints the names of the parts, one for each line. With the number of a part it runs that
//! twice: the first run includes one-time setup.

mod work;

fn main() {
    let mut parts = work::parts();
    let Some(asked) = std::env::args().nth(1) else {
        parts.iter().for_each(|part| println!("{}", part.name));
        return;
    };
    let part = asked.parse::<usize>().ok().and_then(|at| parts.get_mut(at)).expect("the number of a part");
    part.run();
    counted(part);
}

/// Counting is on while this runs.
#[inline(never)]
#[unsafe(no_mangle)]
extern "Rust" fn counted(part: &mut work::Part) {
    part.run();
}
