//! Bodies and answers of the admin API.

use axum::Json;
use axum::body::Bytes;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::super::model::Failure;

/// The refusal of an admin call.
pub(super) struct Refused(StatusCode, String);

impl Refused {
    pub(super) fn no_such_route() -> Refused {
        Refused(StatusCode::NOT_FOUND, "there is no such admin route".to_owned())
    }

    pub(super) fn no_such_method() -> Refused {
        Refused(StatusCode::METHOD_NOT_ALLOWED, "this admin route has no such method".to_owned())
    }

    pub(super) fn malformed(why: String) -> Refused {
        Refused(StatusCode::BAD_REQUEST, why)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(json!({"error": self.1}))).into_response()
    }
}

/// Result of an admin call.
pub(super) type Answer = Result<Json<Value>, Refused>;

/// Reads a JSON body.
pub(super) fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refused> {
    serde_json::from_slice(body).map_err(|error| Refused(StatusCode::BAD_REQUEST, format!("the body: {error}")))
}

/// The answer for a result of the model; `shown` converts its value to JSON.
pub(super) fn model_answer<T>(result: Result<T, Failure>, shown: impl FnOnce(T) -> Value) -> Answer {
    let refused = |failure: Failure| {
        let status = StatusCode::from_u16(failure.status).unwrap_or(StatusCode::BAD_REQUEST);
        Refused(status, failure.to_string())
    };
    result.map(|value| Json(shown(value))).map_err(refused)
}

/// The answer `{"done": true}`.
pub(super) fn done() -> Answer {
    Ok(Json(json!({"done": true})))
}
