//! Which of the standard sources gives the operator its identity.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use disaster_recovery_operator::cloud::credentials::chain;
use disaster_recovery_operator::cloud::credentials::services::Services;
use disaster_recovery_operator::cloud::credentials::{
    CredentialsError, Issued, Provider, Variables, ecs_role, environment, profile,
};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::service::{Answer, Service, assert_hidden, in_an_hour, refusal, session};

const KEY: [(&str, &str); 2] =
    [("ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAI-environment-0001"), ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "hidden-env")];
const ROLE: &str = "acs:ram::1:role/rrsa";

/// A home, an environment that a test changes, and a cloud that answers STS and the metadata service.
struct Scene {
    home: TempDir,
    variables: Arc<Mutex<BTreeMap<String, String>>>,
    cloud: Service,
    sts: Option<String>,
    /// What STS answers in place of a session.
    fault: Arc<Mutex<Option<Answer>>>,
}

impl Scene {
    fn new() -> Self {
        let fault: Arc<Mutex<Option<Answer>>> = Arc::default();
        let faulty = fault.clone();
        let cloud = Service::new(move |seen, number| match (seen.host.as_str(), seen.path.as_str()) {
            ("100.100.100.200", "/latest/api/token") => (200, "metadata-token".into()),
            ("100.100.100.200", "/latest/meta-data/ram/security-credentials/") => (200, "NodeRole".into()),
            ("100.100.100.200", _) => {
                let key = ("STS.node", "hidden-node", "hidden-node-token");
                let answer = json!({"Code": "Success", "AccessKeyId": key.0, "AccessKeySecret": key.1,
                    "SecurityToken": key.2, "Expiration": in_an_hour()});
                (200, answer.to_string())
            }
            _ => match faulty.lock().unwrap().clone() {
                Some(fault) => fault,
                None => (200, session(&format!("session-{number}")).to_string()),
            },
        });
        Self { home: TempDir::new().unwrap(), variables: Arc::default(), cloud, sts: None, fault }
    }

    fn set(&self, name: &str, value: &str) -> &Self {
        self.variables.lock().unwrap().insert(name.into(), value.into());
        self
    }

    fn key(&self) -> &Self {
        KEY.iter().fold(self, |scene, (name, value)| scene.set(name, value))
    }

    fn rrsa(&self) -> &Self {
        let token = self.home.path().join("token");
        std::fs::write(&token, "hidden-service-account-token").unwrap();
        self.set("ALIBABA_CLOUD_ROLE_ARN", ROLE);
        self.set("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "acs:ram::1:oidc-provider/c1");
        self.set("ALIBABA_CLOUD_OIDC_TOKEN_FILE", token.to_str().unwrap())
    }

    fn file(&self) -> PathBuf {
        self.home.path().join(".aliyun/config.json")
    }

    fn write(&self, text: &str) -> &Self {
        std::fs::create_dir_all(self.file().parent().unwrap()).unwrap();
        std::fs::write(self.file(), text).unwrap();
        self
    }

    /// Writes profiles, of which the first is the current one.
    fn profiles(&self, profiles: Value) -> &Self {
        self.write(&json!({"current": profiles[0]["name"], "profiles": profiles, "meta_path": ""}).to_string())
    }

    fn variables(&self) -> Variables {
        let variables = self.variables.clone();
        Arc::new(move |name| variables.lock().unwrap().get(name).cloned())
    }

    fn places(&self) -> Services {
        let (client, http) = (self.cloud.client(), self.cloud.http());
        Services { client, http, sts: self.sts.clone(), metadata: ecs_role::base() }
    }

    fn chain(&self) -> Provider {
        chain::of(self.places(), Some(self.file()), self.variables())
    }

    async fn profile(&self) -> Result<Issued, CredentialsError> {
        let answer = profile::of(self.places(), self.file(), self.variables())().await;
        if let Err(error) = &answer {
            assert_hidden(error, &error.to_string(), &["hidden"]);
        }
        answer
    }

    async fn identity(&self) -> Result<String, CredentialsError> {
        self.chain()().await.map(|issued| issued.identity)
    }

    fn hosts(&self) -> Vec<String> {
        self.cloud.seen().into_iter().map(|seen| seen.host).collect()
    }
}

fn key_profile(name: &str) -> Value {
    json!({"name": name, "mode": "AK", "access_key_id": format!("LTAI-{name}-profile"),
        "access_key_secret": "hidden-secret", "sts_token": "", "ram_role_arn": "", "region_id": "cn-hangzhou",
        "expired_seconds": 0, "retry_timeout": 10})
}

#[tokio::test]
async fn first_configured_source_is_used() {
    let scene = Scene::new();
    assert_eq!(scene.identity().await, Ok("ECS RAM role NodeRole".into()));
    scene.profiles(json!([key_profile("work")]));
    assert_eq!(scene.identity().await, Ok("LTAI****file".into()));
    scene.rrsa();
    assert_eq!(scene.identity().await, Ok(ROLE.into()));
    scene.key();
    assert_eq!(scene.identity().await, Ok("LTAI****0001".into()));
    // Half of what a source needs does not configure it.
    scene.set("ALIBABA_CLOUD_ACCESS_KEY_SECRET", " ");
    assert_eq!(scene.identity().await, Ok(ROLE.into()));
    scene.set("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "");
    assert_eq!(scene.identity().await, Ok("LTAI****file".into()));
    scene.set(profile::DISABLED, "True");
    scene.set(ecs_role::ROLE, "Other");
    assert_eq!(scene.identity().await, Ok("ECS RAM role Other".into()));
    scene.set(ecs_role::DISABLED, "TRUE");
    let error = scene.identity().await.unwrap_err();
    assert!(matches!(error, CredentialsError::NoSource(_)) && !error.passing());
    let text = error.to_string();
    for name in ["ACCESS_KEY_ID", "ROLE_ARN", "OIDC_TOKEN_FILE", "config.json", "ECS_METADATA_DISABLED"] {
        assert!(text.contains(name), "{name} is not in {text}");
    }
    assert_hidden(&error, &text, &["hidden", "LTAI"]);
}

#[tokio::test]
async fn failing_source_is_not_skipped() {
    let scene = Scene::new();
    scene.rrsa().profiles(json!([key_profile("work")]));
    for fault in [refusal(503, "ServiceUnavailable", "no"), refusal(401, "AuthenticationFail.NoPermission", "no")] {
        *scene.fault.lock().unwrap() = Some(fault);
        assert!(scene.identity().await.is_err());
        // Nor once it worked.
        *scene.fault.lock().unwrap() = None;
        let chain = scene.chain();
        assert_eq!(chain().await.unwrap().identity, ROLE);
        *scene.fault.lock().unwrap() = Some(refusal(503, "ServiceUnavailable", "no"));
        assert!(matches!(chain().await, Err(CredentialsError::Unreachable(_))));
    }
    std::fs::remove_file(scene.home.path().join("token")).unwrap();
    assert!(matches!(scene.identity().await, Err(CredentialsError::TokenFileUnreadable { .. })));
    assert!(scene.hosts().iter().all(|host| host == "sts.aliyuncs.com"), "{:?}", scene.hosts());
}

#[tokio::test]
async fn working_source_is_kept() {
    let scene = Scene::new();
    scene.profiles(json!([key_profile("work")]));
    let chain = scene.chain();
    assert_eq!(chain().await.unwrap().identity, "LTAI****file");
    // The file is replaced, as editors do: a moment without it does not select the node's role.
    std::fs::remove_file(scene.file()).unwrap();
    assert!(matches!(chain().await, Err(CredentialsError::ProfileUnusable(_))));
    scene.profiles(json!([key_profile("home")]));
    assert_eq!(chain().await.unwrap().credentials.access_key_id, "LTAI-home-profile");
    assert!(scene.hosts().is_empty());

    // A source configured later does not change the operator's identity.
    let scene = Scene::new();
    let chain = scene.chain();
    assert_eq!(chain().await.unwrap().identity, "ECS RAM role NodeRole");
    scene.profiles(json!([key_profile("work")]));
    assert_eq!(chain().await.unwrap().identity, "ECS RAM role NodeRole");
}

#[tokio::test]
async fn failing_node_role_error_lists_other_sources() {
    let scene = Scene::new();
    let nowhere = Service::new(|_, _| (404, String::new()));
    let places = Services { http: nowhere.http(), ..scene.places() };
    let error = chain::of(places, None, scene.variables())().await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, CredentialsError::MetadataUnavailable(_)) && text.contains("ACCESS_KEY_ID"), "{text}");
}

#[tokio::test]
async fn sts_endpoint_comes_from_flag_or_variables() {
    let mut scene = Scene::new();
    scene.rrsa();
    scene.identity().await.unwrap();
    scene.set("ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED", "true").identity().await.unwrap();
    scene.set("ALIBABA_CLOUD_STS_REGION", "cn-beijing").identity().await.unwrap();
    scene.set("ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED", "false").identity().await.unwrap();
    scene.sts = Some("https://sts.internal.example:8443".into());
    scene.identity().await.unwrap();
    let expected = [
        "sts.aliyuncs.com",
        "sts.aliyuncs.com",
        "sts-vpc.cn-beijing.aliyuncs.com",
        "sts.cn-beijing.aliyuncs.com",
        "sts.internal.example:8443",
    ];
    assert_eq!(scene.hosts(), expected);
    assert_eq!(scene.cloud.seen()[0].form()["RoleSessionName"], "disaster-recovery-operator");
    scene.set("ALIBABA_CLOUD_ROLE_SESSION_NAME", "dr-1").identity().await.unwrap();
    assert_eq!(scene.cloud.seen()[5].form()["RoleSessionName"], "dr-1");
}

#[tokio::test]
async fn the_environment_is_a_source_of_its_own() {
    let scene = Scene::new();
    let source = environment::of(scene.variables());
    assert_eq!(source().await.unwrap_err(), CredentialsError::VariableMissing(environment::ACCESS_KEY_ID));
    scene.key().set("ALIBABA_CLOUD_SECURITY_TOKEN", "hidden-token");
    let issued = source().await.unwrap();
    assert!(issued.credentials.security_token.is_some() && issued.expires.is_none());
    assert_hidden(&issued, &issued.identity, &["hidden", "environment"]);
}

#[tokio::test]
async fn every_supported_mode_of_a_profile_gives_credentials() {
    let scene = Scene::new();
    let token = scene.home.path().join("profile-token");
    std::fs::write(&token, "hidden-profile-token\n").unwrap();
    scene.profiles(json!([
        key_profile("key"),
        {"name": "session", "mode": "StsToken", "access_key_id": "STS.session", "access_key_secret": "hidden-1",
            "sts_token": "hidden-2"},
        {"name": "role", "mode": "RamRoleArn", "access_key_id": "LTAI-base", "access_key_secret": "hidden-3",
            "ram_role_arn": "acs:ram::1:role/a", "ram_session_name": "s-1", "external_id": "e-1",
            "sts_region": "cn-beijing", "enable_vpc": true, "expired_seconds": 900},
        {"name": "chained", "mode": "ChainableRamRoleArn", "source_profile": "role",
            "ram_role_arn": "acs:ram::1:role/b", "external_id": null},
        {"name": "node", "mode": "EcsRamRole", "ram_role_name": "Named"},
        {"name": "node-any", "mode": "EcsRamRole", "ram_role_name": ""},
        {"name": "oidc", "mode": "OIDC", "ram_role_arn": "acs:ram::1:role/c", "oidc_token_file": token,
            "oidc_provider_arn": "acs:ram::1:oidc-provider/p", "role_session_name": "s-2"},
    ]));
    for (name, identity, requests) in [
        ("key", "LTAI****file", 0),
        ("session", "****aeb4", 0),
        ("role", "acs:ram::1:role/a", 1),
        ("chained", "acs:ram::1:role/b", 2),
        ("node", "ECS RAM role Named", 2),
        ("node-any", "ECS RAM role NodeRole", 3),
        ("oidc", "acs:ram::1:role/c", 1),
    ] {
        let before = scene.cloud.seen().len();
        scene.set(profile::PROFILE, name);
        let issued = scene.profile().await.unwrap();
        assert_eq!((issued.identity.as_str(), scene.cloud.seen().len() - before), (identity, requests), "{name}");
        assert_hidden(&issued, "", &["hidden", "session-"]);
    }
    let seen = scene.cloud.seen();
    assert_eq!(seen[0].host, "sts-vpc.cn-beijing.aliyuncs.com");
    assert_eq!((seen[0].query["RoleSessionName"].as_str(), seen[0].query["ExternalId"].as_str()), ("s-1", "e-1"));
    assert!(seen[0].header("authorization").contains("Credential=LTAI-base,"));
    // The second role is assumed with the session of the first.
    assert_eq!(seen[2].header("x-acs-accesskey-id"), "STS.session-2");
    assert!(!seen[2].query.contains_key("ExternalId"));
    let oidc = seen.last().unwrap();
    assert_eq!(
        (oidc.form()["OIDCToken"].as_str(), oidc.form()["RoleSessionName"].as_str()),
        ("hidden-profile-token", "s-2")
    );
    // The file is read each time.
    scene.set(profile::PROFILE, "").profiles(json!([key_profile("rotated")]));
    let key = scene.profile().await.unwrap().credentials;
    assert_eq!(
        (key.access_key_id.as_str(), key.access_key_secret.expose_secret()),
        ("LTAI-rotated-profile", "hidden-secret")
    );
}

#[tokio::test]
async fn profile_error_names_missing_fields_without_values() {
    let role = json!({"ram_role_arn": "acs:ram::1:role/a", "access_key_id": "hidden", "access_key_secret": "hidden"});
    let with = |mode: &str, more: Value| {
        let mut profile = json!({"name": "work", "mode": mode});
        profile.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        profile
    };
    for (profile, lacks) in [
        (with("AK", json!({"access_key_secret": "hidden"})), "has no access_key_id"),
        (with("AK", json!({"access_key_id": "hidden", "access_key_secret": " "})), "has no access_key_secret"),
        (with("StsToken", role.clone()), "has no sts_token"),
        (with("RamRoleArn", json!({"access_key_id": "hidden", "access_key_secret": "hidden"})), "has no ram_role_arn"),
        (with("ChainableRamRoleArn", role.clone()), "has no source_profile"),
        (with("ChainableRamRoleArn", json!({"source_profile": "work"})), "through itself"),
        (with("ChainableRamRoleArn", json!({"source_profile": "gone"})), "\"gone\" does not exist"),
        (with("OIDC", role.clone()), "has no oidc_provider_arn"),
        (with("CloudSSO", json!({"access_token": "hidden"})), "has mode CloudSSO, which is not supported"),
        (with("External", json!({"process_command": "hidden"})), "has mode External, which is not supported"),
        (with("CredentialsURI", json!({"credentials_uri": "http://hidden"})), "has mode CredentialsURI"),
        (with("hidden mode", role.clone()), "has a mode that is not known"),
        (with("", role), "has no mode"),
    ] {
        let scene = Scene::new();
        let error = scene.profiles(json!([profile])).profile().await.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, CredentialsError::ProfileUnusable(_)) && !error.passing(), "{text}");
        assert!(text.contains(lacks) && (text.contains("\"work\"") || text.contains("\"gone\"")), "{lacks}: {text}");
        assert!(scene.hosts().is_empty());
        // It is what is configured, so that nothing else is asked.
        assert!(matches!(scene.identity().await, Err(CredentialsError::ProfileUnusable(_))));
    }
}

#[tokio::test]
async fn unusable_file_is_an_error_missing_is_skipped() {
    for text in ["", "hidden", "[7]", r#"{"current": 7}"#, r#"{"profiles": [{"access_key_secret": ["hidden"]}]}"#] {
        let scene = Scene::new();
        assert!(matches!(scene.write(text).profile().await, Err(CredentialsError::ProfileUnusable(_))), "{text}");
        assert!(matches!(scene.identity().await, Err(CredentialsError::ProfileUnusable(_))), "{text}");
    }
    for text in ["{}", r#"{"current": "gone", "profiles": null}"#, r#"{"current": "", "profiles": [{"name": ""}]}"#] {
        let scene = Scene::new();
        assert_eq!(scene.write(text).identity().await, Ok("ECS RAM role NodeRole".into()), "{text}");
        // But what the environment names must be there.
        scene.set(profile::PROFILE, "wanted");
        let text = scene.identity().await.unwrap_err().to_string();
        assert!(text.contains("\"wanted\""), "{text}");
    }
    let scene = Scene::new();
    assert!(scene.set(profile::PROFILE, "wanted").identity().await.is_err(), "there is no file");
    assert_eq!(profile::default_path(|_| Some("/home/a".into())), Some("/home/a/.aliyun/config.json".into()));
    assert_eq!(profile::default_path(|_| None), None);
    let scene = Scene::new();
    scene.set(ecs_role::DISABLED, "true").profiles(json!([{"name": "node", "mode": "EcsRamRole"}]));
    assert!(scene.profile().await.unwrap_err().to_string().contains(ecs_role::DISABLED));
    assert!(scene.hosts().is_empty());
}
