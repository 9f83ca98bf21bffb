//! The requests of an operator in this process to Kubernetes: a record, and watches that are late.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures::{StreamExt, stream};
use http_body_util::{BodyExt, StreamBody};
use kube::client::DynBody;
use tokio::sync::watch;

/// The body of an answer.
type Body = Box<DynBody>;

/// One request.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: http::Method,
    /// The path and the query.
    pub target: String,
    /// Whether it asks for metadata only.
    pub metadata: bool,
}

impl Request {
    fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// Whether it begins a watch.
    pub fn watches(&self) -> bool {
        self.target.contains("watch=true")
    }
}

/// The requests of an operator. A clone shares the record.
#[derive(Clone, Debug)]
pub struct Requests {
    all: Arc<Mutex<Vec<Request>>>,
    held: watch::Sender<bool>,
    refuses_metadata: Arc<AtomicBool>,
}

impl Default for Requests {
    fn default() -> Self {
        Self { all: Arc::default(), held: watch::Sender::new(false), refuses_metadata: Arc::default() }
    }
}

impl Requests {
    /// All requests in their order.
    pub fn all(&self) -> Vec<Request> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The writes, each as its method and path.
    pub fn writes(&self) -> Vec<String> {
        let all = self.all();
        let writes = all.iter().filter(|it| it.method != http::Method::GET);
        writes.map(|it| format!("{} {}", it.method, it.path())).collect()
    }

    /// The number of reads of the object of a name.
    pub fn gets(&self, name: &str) -> usize {
        let reads = |it: &&Request| it.method == http::Method::GET && it.path().rsplit('/').next() == Some(name);
        self.all().iter().filter(reads).count()
    }

    /// The number of list pages of a plural.
    pub fn lists(&self, plural: &str) -> usize {
        let lists = |it: &&Request| it.method == http::Method::GET && it.path().ends_with(plural) && !it.watches();
        self.all().iter().filter(lists).count()
    }

    /// Holds the events of all watches back, or delivers them.
    pub fn hold_watches(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// Refuses lists of metadata, or answers them.
    pub fn refuse_metadata(&self, refused: bool) {
        self.refuses_metadata.store(refused, Ordering::SeqCst);
    }

    /// Records a request. `None` where it is refused.
    pub(crate) fn record<B>(&self, request: &http::Request<B>) -> Option<Request> {
        let accepts = request.headers().get(http::header::ACCEPT).and_then(|it| it.to_str().ok()).unwrap_or_default();
        let metadata = accepts.contains("as=PartialObjectMetadataList");
        let request = Request { method: request.method().clone(), target: request.uri().to_string(), metadata };
        self.all.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
        (!metadata || !self.refuses_metadata.load(Ordering::SeqCst)).then_some(request)
    }

    /// The body of a watch, whose events can be held back.
    pub(crate) fn holdable(&self, body: Body) -> Body {
        let held = self.held.subscribe();
        let frames = stream::unfold((body, held), |(mut body, mut held)| async move {
            let frame = body.frame().await?;
            held.wait_for(|held| !*held).await.ok()?;
            Some((frame, (body, held)))
        });
        Box::new(StreamBody::new(frames.boxed()))
    }
}
