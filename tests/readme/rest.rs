//! Everything else that the README shows: commands outside of the first steps, and manifests.

use std::process::Command;

use crate::page::{FIRST_STEPS, blocks, inline_commands, path, read};
use crate::terminal::Terminal;
use test_support::installation::DEADLINE;
use test_support::operator::installed;
use test_support::{ControlPlane, eventually_blocking};

/// A terminal at a server that has our kinds. A kind is established before clients find it.
fn terminal() -> Terminal {
    installed();
    let terminal = Terminal::open(ControlPlane::shared());
    for kind in ["drp", "drg", "aca"] {
        let command = format!("kubectl explain {kind}.spec");
        eventually_blocking(DEADLINE, &command, || terminal.attempt(&command).ok());
    }
    terminal
}

#[test]
fn manifests_are_accepted_by_the_server() {
    drop(terminal());
    let plane = ControlPlane::shared();
    let namespace = plane.namespace("shown");
    let mut accepted = 0;
    for block in blocks(&read("README.md")).iter().filter(|block| block.language == "yaml") {
        let apply = ["apply", "--dry-run=server", "--namespace", &namespace, "-f", "-"];
        let answer = plane.kubectl_stdin(&apply, &block.text);
        assert!(!answer.stderr.contains("Warning"), "{}\n{}", answer.stderr, block.text);
        let answer = answer.checked().unwrap_or_else(|error| panic!("{error:#}\n{}", block.text));
        accepted += answer.lines().filter(|line| line.ends_with("created (server dry run)")).count();
    }
    assert!(accepted >= 3, "an account, a plan and a group, but only {accepted} objects");
}

#[test]
fn commands_outside_the_first_steps_are_accepted() {
    let (terminal, page) = (terminal(), read("README.md"));
    let mut commands = inline_commands(&page);
    for block in blocks(&page).iter().filter(|block| block.section != FIRST_STEPS) {
        match block.language.as_str() {
            "sh" => commands.extend(block.commands()),
            "console" => panic!("README: output outside of the first steps is compared with nothing: {}", block.text),
            _ => {}
        }
    }
    assert!(commands.len() > 5, "only {commands:?}");
    for command in &commands {
        let words: Vec<_> = command.split_whitespace().collect();
        match words[..] {
            // They only read.
            ["kubectl", "get" | "explain", ..] => drop(terminal.run(command)),
            ["kubectl", "apply" | "create" | "delete" | "patch" | "annotate" | "label", ..]
            | ["helm", "install" | "upgrade", ..] => {
                let reported = terminal.run(&format!("{command} --dry-run=server"));
                assert!(!reported.is_empty(), "README: `{command}` does nothing");
            }
            ["make", target, ..] => {
                let makefile = read("Makefile");
                assert!(makefile.contains(&format!("\n{target}:")), "README: `{command}`: there is no such target");
            }
            ["cargo", "test", "--test", suite] => {
                let files = [format!("tests/{suite}.rs"), format!("tests/{suite}/main.rs")];
                assert!(files.iter().any(|file| path(file).is_file()), "README: `{command}`: there is no such suite");
            }
            ["cargo", "run", "--", ref args @ ..] => {
                // The help at the end is reached only when the program knows all arguments before it.
                let program = Command::new(env!("CARGO_BIN_EXE_dr-operator")).args(args).arg("--help").output();
                let program = program.expect("the operator's program runs");
                assert!(program.status.success(), "README: `{command}`: {}", String::from_utf8_lossy(&program.stderr));
            }
            ["export", ..] => {}
            _ => panic!("README: say here how `{command}` is checked"),
        }
    }
}
