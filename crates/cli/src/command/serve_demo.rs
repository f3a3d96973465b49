//! `ternlight serve-demo`: serves the demo page locally, with the headers that threads in a tab require.
//!
//! Invariant: only `--dir` and the named model can be read, and only this machine can connect unless
//! `--host` says otherwise.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use axum::{
    Router,
    extract::Request,
    http::{HeaderName, HeaderValue, StatusCode, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use clap::Args;
use tower_http::services::{ServeDir, ServeFile};

use crate::{
    Result,
    console::{Console, STRONG},
    failure::{Failure, IO, NETWORK, USAGE},
    model_ref::ModelRef,
    options::CacheOptions,
};

/// Serve the demo page (and, if wanted, a model) on this machine.
#[derive(Args)]
pub struct ServeDemo {
    /// Folder with the built page
    #[arg(long, value_name = "DIR", default_value = "www/dist")]
    dir: PathBuf,

    /// Model file to offer to the page, under /model/
    #[arg(value_name = "MODEL", id = "model_argument", conflicts_with = "model")]
    argument: Option<ModelRef>,

    /// The model file by name: the same, as an option
    #[arg(long, short, value_name = "MODEL")]
    model: Option<ModelRef>,

    #[command(flatten)]
    cache: CacheOptions,

    /// Port; 0 takes a free one
    #[arg(long, short, default_value_t = 8080)]
    port: u16,

    /// Address to listen on; anything but loopback shows the page to the network
    #[arg(long, default_value = "127.0.0.1")]
    host: IpAddr,
}

impl ServeDemo {
    pub fn execute(self, console: &Console) -> Result<()> {
        if !self.dir.join("index.html").is_file() {
            let text = format!("{}: there is no index.html", self.dir.display());
            return Err(Failure::new(USAGE, text).hint("build the page with ./build.sh www, or give --dir."));
        }
        let reference = self.argument.or(self.model);
        let model = reference.map(|reference| self.cache.locate(&reference, console)).transpose()?;
        let mut router = Router::new();
        let mut query = String::new();
        if let Some(model) = &model {
            if !model.is_file() {
                let text = format!("{}: a folder cannot be offered, only a file", model.display());
                return Err(Failure::new(USAGE, text).hint("turn it into a GGUF file: ternlight convert."));
            }
            let name: String =
                model.file_name().unwrap_or_default().to_string_lossy().replace(['{', '}'], "_");
            let path = format!("/model/{name}");
            query = format!("?model={path}");
            router = router.route_service(&path, ServeFile::new(model));
        }
        let loopback = self.host.is_loopback();
        let router = router
            // The build of the page puts these beside what compresses well.
            .fallback_service(ServeDir::new(&self.dir).precompressed_br().precompressed_gzip())
            .layer(middleware::from_fn(if_range))
            .layer(middleware::from_fn(move |request: Request, next: Next| guard(loopback, request, next)));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| Failure::new(IO, e.to_string()))?;
        runtime.block_on(async {
            let address = SocketAddr::new(self.host, self.port);
            let listener = tokio::net::TcpListener::bind(address).await.map_err(|e| {
                Failure::new(NETWORK, format!("cannot listen on {address}: {e}"))
                    .hint("give another --port; 0 takes a free one.")
            })?;
            let address = listener.local_addr().map_err(|e| Failure::new(NETWORK, e.to_string()))?;
            crate::say!("{STRONG}http://{address}/{query}{STRONG:#}");
            console.remark("Ctrl-C stops the server");
            let stop = async {
                while !crate::interrupt::asked() {
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            };
            tokio::select! {
                served = async { axum::serve(listener, router).await } => {
                    served.map_err(|e| Failure::new(NETWORK, e.to_string()))
                }
                () = stop => Ok(()),
            }
        })
    }
}

/// Refuses foreign host names on loopback (a page elsewhere could otherwise read ours by rebinding its
/// name), and adds the headers of a cross-origin isolated page.
async fn guard(loopback: bool, request: Request, next: Next) -> Response {
    if loopback && !names_this_machine(request.headers().get(header::HOST), request.uri()) {
        return (StatusCode::FORBIDDEN, "this server answers to localhost only\n").into_response();
    }
    let fixed = is_named_by_content(request.uri().path());
    let mut response = next.run(request).await;
    let status = response.status();
    let fixed = fixed && (status.is_success() || status == StatusCode::NOT_MODIFIED);
    let headers = response.headers_mut();
    let mut set = |name: &'static str, value: &'static str| {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    };
    set("cross-origin-opener-policy", "same-origin");
    set("cross-origin-embedder-policy", "require-corp");
    set("cross-origin-resource-policy", "same-origin");
    set("x-content-type-options", "nosniff");
    // The answer depends on what the browser can unpack.
    set("vary", "accept-encoding");
    // Validators make revalidation cheap, and a rebuilt page is seen at once.
    set("cache-control", if fixed { "public, max-age=31536000, immutable" } else { "no-cache" });
    response
}

/// Whether the page's build put a hash of the content into the path: `/assets/index-BHu5VNiB.js`,
/// `/engine/64d6b96d/…`. Another content would have another name.
fn is_named_by_content(path: &str) -> bool {
    let name_has_hash = |name: &str| {
        let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
        // A hash may have a `-` of its own, so the last eight characters are looked at.
        stem.len() > 9 && stem.is_ascii() && stem.as_bytes()[stem.len() - 9] == b'-'
    };
    if let Some(name) = path.strip_prefix("/assets/") {
        return !name.contains('/') && name_has_hash(name);
    }
    let version = path.strip_prefix("/engine/").and_then(|rest| rest.split_once('/'));
    version.is_some_and(|(hash, _)| hash.len() == 8 && hash.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn names_this_machine(host: Option<&HeaderValue>, uri: &Uri) -> bool {
    let Some(host) = host.and_then(|h| h.to_str().ok()).or(uri.host()) else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Handles `If-Range`, which the file service ignores: a range of an older version gets the whole file.
async fn if_range(mut request: Request, next: Next) -> Response {
    let Some(wanted) = request.headers_mut().remove(header::IF_RANGE) else { return next.run(request).await };
    let Some(range) = request.headers().get(header::RANGE).cloned() else { return next.run(request).await };
    // A `HEAD` request without the range returns the current validators.
    let mut probe = Request::new(axum::body::Body::empty());
    *probe.method_mut() = axum::http::Method::HEAD;
    *probe.uri_mut() = request.uri().clone();
    let now = next.clone().run(probe).await.into_parts().0.headers;
    let strong = |name| now.get(name).is_some_and(|now| *now == wanted && !now.as_bytes().starts_with(b"W/"));
    let same = strong(header::ETAG) || strong(header::LAST_MODIFIED);
    request.headers_mut().remove(header::RANGE);
    if same {
        request.headers_mut().insert(header::RANGE, range);
    }
    next.run(request).await
}
