//! Commands that cannot run here, since there is no container engine: what can be known about them is checked.

use crate::page::{path, read};

/// The image of a command that builds it or brings it to the cluster. Every other command has to run.
pub(crate) fn image(command: &str) -> Option<String> {
    let words: Vec<_> = command.split_whitespace().collect();
    match words[..] {
        ["docker", "build", ref rest @ ..] => Some(built(rest)),
        ["kind", "load", "docker-image", image] => Some(image.to_owned()),
        _ => None,
    }
}

/// `docker build`: only known options, arguments that the Dockerfile declares, and a context with the files that it copies.
fn built(words: &[&str]) -> String {
    let dockerfile = read("Dockerfile");
    let mut tag = None;
    let mut words = words.iter();
    while let Some(&word) = words.next() {
        match word {
            "--tag" => tag = words.next(),
            "--platform" => {
                let platform = words.next().expect("a platform");
                assert!(["linux/amd64", "linux/arm64"].contains(platform), "one architecture: {platform}");
            }
            "--build-arg" => {
                let (name, _) = words.next().and_then(|it| it.split_once('=')).expect("NAME=VALUE");
                let declared =
                    |line: &str| line.strip_prefix("ARG ").is_some_and(|it| it.split('=').next() == Some(name));
                assert!(dockerfile.lines().any(declared), "the Dockerfile has no ARG {name}");
            }
            "." => assert_eq!(words.next(), None, "the context comes last"),
            other => panic!("docker build with {other}: say here what it has to be"),
        }
    }
    let copies =
        dockerfile.lines().filter_map(|line| line.strip_prefix("COPY ")).filter(|it| !it.starts_with("--from"));
    for copy in copies {
        let mut sources: Vec<_> = copy.split_whitespace().collect();
        sources.pop();
        for source in sources {
            assert!(path(source).exists(), "the Dockerfile copies {source}, which does not exist");
        }
    }
    (*tag.expect("a tag")).to_owned()
}
