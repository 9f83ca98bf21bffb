//! The connections to kube-apiserver.

use std::time::Duration;

use http::Request;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::retry::RetryPolicy;
use kube::client::{Body, ClientBuilder, ConfigExt};
use tower::retry::RetryLayer;
use tower::{BoxError, ServiceBuilder};

/// The time after which a connection with open requests that is silent is asked whether it is alive, and the time for its answer.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// The time after which a connection without requests is closed.
const IDLE: Duration = Duration::from_secs(30);

/// A client whose requests share one HTTP/2 connection, where the server has HTTP/2: each connection takes 50 KiB, and a handshake.
/// A server allows about a hundred requests at a time on one, and further ones wait. So each watch, which lasts for minutes, has a
/// connection of its own.
///
/// # Errors
/// When the configuration cannot be used.
pub fn client(config: kube::Config) -> Result<kube::Client, kube::Error> {
    // It says which proxies it does not support.
    if config.proxy_url.is_some() {
        return kube::Client::try_from(config);
    }
    let mut builder = Client::builder(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .http2_keep_alive_timeout(KEEP_ALIVE);
    let shared = builder.build::<_, Body>(connector(&config, true)?);
    let single = builder.build::<_, Body>(connector(&config, false)?);
    let connections =
        tower::service_fn(
            move |request| {
                if is_watch(&request) { single.request(request) } else { shared.request(request) }
            },
        );
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.default_retry.then(|| RetryLayer::new(RetryPolicy::server_retry())))
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(connections);
    Ok(ClientBuilder::new(service, config.default_namespace).build())
}

fn is_watch(request: &Request<Body>) -> bool {
    request.uri().query().is_some_and(|query| query.split('&').any(|it| it == "watch=true"))
}

/// Opens connections; with HTTP/2 where the server has it, or without.
fn connector(
    config: &kube::Config,
    http2: bool,
) -> Result<TimeoutConnector<HttpsConnector<HttpConnector>>, kube::Error> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    let mut tls = HttpsConnectorBuilder::new().with_tls_config(config.rustls_client_config()?).https_or_http();
    if let Some(name) = &config.tls_server_name {
        let name = name.clone().try_into().map_err(|error| kube::Error::Service(BoxError::from(error)))?;
        tls = tls.with_server_name_resolver(FixedServerNameResolver::new(name));
    }
    let mut connector = TimeoutConnector::new(match http2 {
        true => tls.enable_all_versions().wrap_connector(tcp),
        false => tls.enable_http1().wrap_connector(tcp),
    });
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    connector.set_reset_reader_on_write(config.reset_reader_on_write);
    Ok(connector)
}
