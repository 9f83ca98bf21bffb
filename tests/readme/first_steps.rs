//! The first steps, from the image to the deletion.

use k8s_openapi::api::apps::v1::Deployment;
use serde_json::json;

use crate::page::{FIRST_STEPS, blocks, read};
use crate::terminal::Terminal;
use crate::{elsewhere, output};
use test_support::installation::{Cloud, Operator, container, pod};
use test_support::{ControlPlane, Options};

/// The manifest that the first steps show and apply.
const MANIFEST: &str = "deploy/samples/01-one-way.yaml";

/// What there is once some of the steps are done.
struct User<'a> {
    plane: &'a ControlPlane,
    terminal: Terminal,
    cloud: Cloud,
    operator: Option<Operator>,
    /// The image that was built.
    image: Option<String>,
    /// Everything that ran, in its order.
    ran: Vec<String>,
}

impl User<'_> {
    fn types(&mut self, command: &str) {
        let printed = match elsewhere::image(command) {
            Some(image) => {
                let built = self.image.get_or_insert_with(|| image.clone());
                assert_eq!(*built, image, "README: `{command}` is about another image than the one that was built");
                return;
            }
            None => {
                assert!(
                    command.starts_with("kubectl ") || command.starts_with("helm "),
                    "README: what is `{command}`?"
                );
                self.terminal.run(command)
            }
        };
        assert!(!printed.is_empty(), "README: `{command}` does nothing");
        self.ran.push(command.to_owned());
        if command.starts_with("helm install ") {
            self.starts_pods(command);
        }
    }

    /// Does what the cluster does with a Deployment: the container's program runs, and the status says so.
    fn starts_pods(&mut self, install: &str) {
        let words: Vec<_> = install.split_whitespace().collect();
        let after = words.iter().position(|it| *it == "--namespace").map(|at| words[at + 1]);
        let (name, namespace) = (words[2], after.expect("a namespace"));
        let of_it = ["deployment", name, "--namespace", namespace];
        let json =
            self.plane.kubectl(&[&["get", "--output=json"], &of_it[..]].concat()).checked().expect("it is there");
        let deployment: Deployment = serde_json::from_str(&json).expect("JSON");
        assert_eq!(
            container(pod(&deployment)).image,
            self.image,
            "the image that was built is the one that is installed"
        );
        self.operator = Some(Operator::start(self.plane, namespace, name, &self.cloud));

        let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas).expect("replicas");
        let status = json!({ "status": {
            "observedGeneration": deployment.metadata.generation,
            "replicas": replicas, "updatedReplicas": replicas, "readyReplicas": replicas, "availableReplicas": replicas,
            "conditions": [{ "type": "Available", "status": "True" }],
        }});
        let patch = ["patch", "--subresource=status", "--type=merge", "--patch", &status.to_string()];
        self.plane.kubectl(&[&patch, &of_it[..]].concat()).checked().expect("its status");
    }
}

#[test]
fn first_steps_work_as_written() {
    let plane = &ControlPlane::start(Options::default()).expect("a control plane");
    let (terminal, cloud) = (Terminal::open(plane), Cloud::start());
    let mut user = User { plane, terminal, cloud, operator: None, image: None, ran: Vec::new() };
    let page = blocks(&read("README.md"));
    let steps = page.iter().filter(|block| block.section == FIRST_STEPS);
    let (mut shown, mut manifests) = (0, 0);
    for block in steps {
        match block.language.as_str() {
            "sh" => block.commands().iter().for_each(|command| user.types(command)),
            "yaml" => {
                let file = read(MANIFEST);
                let objects = file.find("apiVersion:").expect("objects");
                assert_eq!(block.text, file[objects..], "the README shows another manifest than {MANIFEST}");
                manifests += 1;
            }
            "console" => {
                assert_eq!(user.cloud.holds(), (1, 0), "the plan is in the cloud");
                for it in block.shown() {
                    let printed = user.terminal.run(&it.command);
                    output::compare(&it.command, &it.output, &printed)
                        .unwrap_or_else(|difference| panic!("{difference}"));
                    shown += 1;
                }
            }
            other => panic!("README: what is to be done with a block of {other}?"),
        }
    }
    assert!(manifests == 1 && shown > 0 && user.image.is_some(), "{manifests} manifests, {shown} outputs");
    let at = |what: &str| user.ran.iter().rposition(|it| it.contains(what)).unwrap_or_else(|| panic!("no {what}"));
    assert!(at(&format!("kubectl apply --namespace messaging -f {MANIFEST}")) < at("--for=condition=Protected"));
    assert!(at("kubectl wait ") < at("kubectl delete "), "{:#?}", user.ran);
    assert_eq!(user.cloud.holds(), (0, 0), "the last step deletes the plan in the cloud");
    user.operator.expect("helm install came before").stop();
}
