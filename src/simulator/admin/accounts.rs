//! Admin routes for roles, OIDC providers and keys.

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::json;

use super::super::config::AccessKey;
use super::super::handle::Simulator;
use super::super::model::Failure;
use super::super::model::sts::{OidcProvider, Role};
use super::answer::{Answer, Refused, done, model_answer, read};

/// The routes; each handler documents its body.
pub(super) fn router() -> Router<Simulator> {
    Router::new()
        .route("/roles", get(roles).post(set_role).delete(remove_role))
        .route("/oidc-providers", get(providers).post(set_provider).delete(remove_provider))
        .route("/keys", post(keys))
        .route("/issued-keys", get(issued_keys))
        .route("/revoke", post(revoke))
        .route("/token-life", post(key_lifetime))
        .route("/ecs-role", post(ecs_role))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    arn: String,
}

async fn roles(State(simulator): State<Simulator>) -> Response {
    Json(simulator.with_sts(|sts, _| json!(sts.rules.roles))).into_response()
}

/// Body: a [`Role`], such as `{"arn": "acs:ram::1:role/dr", "trustedCallers": ["*"]}`.
async fn set_role(State(simulator): State<Simulator>, body: Bytes) -> Answer {
    let role: Role = read(&body)?;
    check_arn(&role.arn)?;
    simulator.with_sts(|sts, _| sts.set_role(role));
    done()
}

async fn remove_role(State(simulator): State<Simulator>, Query(Named { arn }): Query<Named>) -> Answer {
    gone(simulator.with_sts(|sts, _| sts.remove_role(&arn)), "role")
}

async fn providers(State(simulator): State<Simulator>) -> Response {
    Json(simulator.with_sts(|sts, _| json!(sts.rules.providers))).into_response()
}

/// Body: an [`OidcProvider`], such as `{"arn": "acs:ram::1:oidc-provider/ack"}`.
async fn set_provider(State(simulator): State<Simulator>, body: Bytes) -> Answer {
    let provider: OidcProvider = read(&body)?;
    simulator.with_sts(|sts, _| sts.set_provider(provider));
    done()
}

async fn remove_provider(State(simulator): State<Simulator>, Query(Named { arn }): Query<Named>) -> Answer {
    gone(simulator.with_sts(|sts, _| sts.remove_provider(&arn)), "OIDC provider")
}

/// Refuses a role name that no caller could assume.
fn check_arn(arn: &str) -> Result<(), Refused> {
    match Role::is_arn(arn) {
        true => Ok(()),
        false => Err(Refused::malformed(format!("{arn:?} is not acs:ram::<account>:role/<name>"))),
    }
}

fn gone(was_there: bool, what: &str) -> Answer {
    let missing = || Failure::gateway(404, "NotFound", format!("there is no such {what}"));
    model_answer(was_there.then_some(()).ok_or_else(missing), |()| json!({"done": true}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    id: String,
    secret: String,
    #[serde(default)]
    inactive: bool,
    #[serde(default)]
    root: bool,
}

/// Body: all permanent keys from now on, `[{"id": "…", "secret": "…"}]`, each optionally with `inactive` or `root`.
async fn keys(State(simulator): State<Simulator>, body: Bytes) -> Answer {
    let keys: Vec<Key> = read(&body)?;
    let known = |Key { id, secret, inactive, root }| AccessKey { inactive, root, ..AccessKey::new(&id, &secret) };
    simulator.set_keys(keys.into_iter().map(known).collect());
    done()
}

async fn issued_keys(State(simulator): State<Simulator>) -> Response {
    Json(simulator.with_sts(|sts, _| json!(sts.issued().collect::<Vec<_>>()))).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Revocation {
    role: String,
}

/// Body: `{"role": "<ARN>"}` revokes all keys that STS issued for the role.
async fn revoke(State(simulator): State<Simulator>, body: Bytes) -> Answer {
    let Revocation { role } = read(&body)?;
    let revoked = simulator.with_sts(|sts, _| sts.revoke(&role));
    Ok(Json(json!({"revoked": revoked})))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct KeyLifetime {
    #[serde(rename = "lifeMs")]
    max_key_lifetime_ms: Option<i64>,
}

/// Body: `{"lifeMs": 5000}` limits the lifetime of keys that STS issues from now on; `null` removes the limit.
async fn key_lifetime(State(simulator): State<Simulator>, body: Bytes) -> Answer {
    let KeyLifetime { max_key_lifetime_ms } = read(&body)?;
    simulator.with_sts(|sts, _| sts.rules.max_key_lifetime_ms = max_key_lifetime_ms);
    done()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Attached {
    role: Option<String>,
}

/// Body: `{"role": "<ARN>"}` attaches a role to the instance; `null` detaches it.
async fn ecs_role(State(simulator): State<Simulator>, body: Bytes) -> Answer {
    let Attached { role } = read(&body)?;
    role.as_deref().map_or(Ok(()), check_arn)?;
    simulator.with_sts(|sts, _| sts.metadata.role_arn = role);
    done()
}
