//! The simulated cloud as an HTTP service.

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::map_response_with_state;
use axum::response::Response;
use http::HeaderValue;

use super::admin;
use super::handle::Simulator;
use super::http::{Answer, BODY_LIMIT, Incoming, http_date};
use super::model::Failure;

impl Simulator {
    /// An HTTP service, to call in process or to serve on a loopback address. `/_simulator` is the admin API, which
    /// needs no signature. Every answer has a `Date` header by the simulator's clock. A request in process may have a fault of its own: a [`FaultKind`](super::FaultKind) among its
    /// extensions.
    pub fn router(&self) -> Router {
        let dated = map_response_with_state(self.clone(), dated);
        Router::new().nest("/_simulator", admin::router()).fallback(answer).layer(dated).with_state(self.clone())
    }
}

/// Answers every request to a product.
async fn answer(State(simulator): State<Simulator>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let answer = match axum::body::to_bytes(body, BODY_LIMIT).await {
        Ok(body) => simulator.lock().answer(&Incoming::new(&parts, body)),
        Err(error) => {
            let failure = Failure::gateway(400, "InvalidParameter", format!("The body cannot be read: {error}."));
            Answer::failure(&failure, "", false)
        }
    };
    answer.send().await
}

/// Adds the time of sending.
async fn dated(State(simulator): State<Simulator>, mut response: Response) -> Response {
    if let Ok(date) = HeaderValue::try_from(http_date(simulator.now_ms())) {
        response.headers_mut().insert(http::header::DATE, date);
    }
    response
}
