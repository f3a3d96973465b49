//! One file over HTTP: attempts that continue each other until the file is whole.
//!
//! Invariant: a byte is appended only when the response is proven to continue the version in the `.part`
//! (206, the asked-for offset, the same total and entity tag).

use std::{
    io::{Read, Write},
    path::Path,
    time::{Duration, Instant},
};

use indicatif::ProgressBar;
use ternlight_core::ErrorKind;
use ureq::{
    Agent, Body,
    http::{HeaderMap, Response, StatusCode, header},
};

use super::{
    Fetched, Request,
    partial::{Partial, Version},
};
use crate::{
    Result,
    console::{self, Console},
    failure::{Failure, NETWORK, NO_SPACE, NOT_FOUND},
    interrupt,
};

pub struct Download<'a> {
    pub url: &'a str,
    pub place: &'a Path,
    pub request: &'a Request,
    pub console: &'a Console,
    /// Whether to note URL and checksum beside the file.
    pub record: bool,
}

/// How an attempt ended, when it did not fail for good.
enum Attempt {
    Whole,
    /// Worth another try: the connection broke, the server was busy.
    Broken(Failure),
}

fn agent(timeout: u64, redirects: u32) -> Agent {
    let patience = Some(Duration::from_secs(timeout));
    let config = Agent::config_builder()
        .timeout_connect(patience)
        .timeout_recv_response(patience)
        .timeout_per_read(patience)
        .http_status_as_error(false)
        .max_redirects(redirects)
        .max_redirects_will_error(false)
        .user_agent(concat!("ternlight/", env!("CARGO_PKG_VERSION")))
        .accept_encoding("identity");
    config.build().into()
}

/// Hugging Face names the SHA-256 of large files in the first answer, before it redirects to the storage.
pub fn linked_sha256(url: &str, timeout: u64) -> Option<String> {
    let response = agent(timeout, 0).head(url).call().ok()?;
    let tag = response.headers().get("x-linked-etag")?.to_str().ok()?.trim_matches('"').to_ascii_lowercase();
    (tag.len() == 64 && tag.bytes().all(|b| b.is_ascii_hexdigit())).then_some(tag)
}

impl Download<'_> {
    pub fn run(&self) -> Result<Fetched> {
        let mut partial = Partial::open(self.place, self.url, self.console)?;
        let resumed_from = partial.len;
        let mut kept = resumed_from;
        let agent = agent(self.request.timeout, 10);
        let bar = self.console.bytes_bar(&self.name(), None);
        let mut best = partial.len;
        let mut failures = 0;
        let mut second_chance = partial.len > 0;
        loop {
            let attempt = self.attempt(&agent, &mut partial, &mut kept, &bar)?;
            if matches!(attempt, Attempt::Whole) {
                let sum = crate::model_ref::hex(&sha2::Digest::finalize(partial.digest.clone()));
                match &self.request.sha256 {
                    Some(expected) if *expected != sum => {
                        if second_chance && kept > 0 {
                            // The bytes of the earlier attempt may be to blame: once more, from the start.
                            second_chance = false;
                            self.console
                                .remark("checksum differs after resuming: starting from the beginning");
                            partial.restart(Version { url: self.url.to_owned(), ..Version::default() })?;
                            kept = 0;
                            continue;
                        }
                        let text = format!("{}: expected sha256 {expected}, got {sum}", self.url);
                        partial.discard(self.place);
                        return Err(Failure::kind(ErrorKind::Checksum, text));
                    }
                    _ => break,
                }
            }
            if let Attempt::Broken(failure) = attempt {
                failures = if partial.len > best { 1 } else { failures + 1 };
                best = best.max(partial.len);
                if failures > self.request.retries {
                    bar.abandon();
                    let left = format!(
                        "{} are kept: run the same command again to continue.",
                        console::bytes(partial.len)
                    );
                    return Err(if partial.len > 0 { failure.hint(left) } else { failure });
                }
                let wait = Duration::from_millis((250 << failures.min(6)).min(10_000));
                bar.suspend(|| {
                    let words = format!("{}; trying again in {}", failure.message(), console::duration(wait));
                    self.console.remark(words);
                });
                pause(wait)?;
            }
        }
        bar.finish_and_clear();
        let bytes = partial.len;
        let sha256 = partial.promote(self.place, self.record)?;
        let path = self.place.to_owned();
        Ok(Fetched { path, bytes, sha256: Some(sha256), cached: false, resumed_from: kept })
    }

    fn name(&self) -> String {
        self.place.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// One request. `kept` falls to 0 when the bytes of earlier runs had to be dropped.
    fn attempt(
        &self,
        agent: &Agent,
        partial: &mut Partial,
        kept: &mut u64,
        bar: &ProgressBar,
    ) -> Result<Attempt> {
        interrupt::check()?;
        if partial.version.total == Some(partial.len) && partial.len > 0 {
            return Ok(Attempt::Whole);
        }
        let mut call = agent.get(self.url);
        if partial.len > 0 {
            let validator = partial.version.validator().map(str::to_owned);
            // Without a validator only a checksum can prove that old and new bytes belong together.
            if validator.is_some() || self.request.sha256.is_some() {
                call = call.header(header::RANGE, format!("bytes={}-", partial.len));
            }
            if let Some(validator) = validator {
                call = call.header(header::IF_RANGE, validator);
            }
        }
        let mut response = match call.call() {
            Ok(response) => response,
            Err(error) => return self.broken(&error),
        };
        let status = response.status();
        match status {
            StatusCode::PARTIAL_CONTENT => {
                if !continues(partial, response.headers()) {
                    self.drop_bytes(
                        partial,
                        kept,
                        Version { url: self.url.to_owned(), ..Version::default() },
                    )?;
                    let words = format!("{}: the server's file has changed", self.url);
                    return Ok(Attempt::Broken(Failure::new(NETWORK, words)));
                }
            }
            StatusCode::OK => {
                let version = self.version(&response);
                self.drop_bytes(partial, kept, version)?;
            }
            StatusCode::RANGE_NOT_SATISFIABLE if partial.len > 0 => {
                self.drop_bytes(partial, kept, Version { url: self.url.to_owned(), ..Version::default() })?;
                return Ok(Attempt::Broken(Failure::new(
                    NETWORK,
                    format!("{}: the server's file has changed", self.url),
                )));
            }
            _ => {
                let failure = Failure::new(NETWORK, format!("{}: the server answered {status}", self.url));
                let again = status.is_server_error()
                    || status == StatusCode::TOO_MANY_REQUESTS
                    || status == StatusCode::REQUEST_TIMEOUT;
                return match status {
                    _ if again => Ok(Attempt::Broken(failure)),
                    StatusCode::NOT_FOUND | StatusCode::GONE => {
                        let text = format!("{}: the server has no such file", self.url);
                        Err(Failure::new(NOT_FOUND, text).hint("check the spelling of the reference."))
                    }
                    StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                        Err(failure
                            .hint("this file is not public: download it in a browser and give its path."))
                    }
                    _ => Err(failure),
                };
            }
        }
        self.body(&mut response, partial, bar)
    }

    fn body(
        &self,
        response: &mut Response<Body>,
        partial: &mut Partial,
        bar: &ProgressBar,
    ) -> Result<Attempt> {
        if let Some(total) = partial.version.total {
            self.check_space(total.saturating_sub(partial.len))?;
            bar.set_length(total);
            bar.set_style(self.console.bytes_bar("", Some(total)).style());
        }
        bar.set_position(partial.len);
        bar.reset_eta();
        let mut reader = response.body_mut().as_reader();
        let mut buffer = vec![0; 256 << 10];
        loop {
            interrupt::check().map_err(|f| f.hint("run the same command again to continue."))?;
            let n = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return self.broken(&ureq::Error::from(error)),
            };
            partial.file.write_all(&buffer[..n]).map_err(|e| {
                // Keeps length and digest of the part in step for a later resume.
                let _ = partial.file.set_len(partial.len);
                Failure::io(&partial.path, &e)
            })?;
            sha2::Digest::update(&mut partial.digest, &buffer[..n]);
            partial.len += n as u64;
            bar.set_position(partial.len);
        }
        match partial.version.total {
            Some(total) if partial.len < total => {
                let words = format!("{}: the connection ended at {} of {total} bytes", self.url, partial.len);
                Ok(Attempt::Broken(Failure::new(NETWORK, words)))
            }
            Some(total) if partial.len > total => {
                let failure =
                    Failure::new(NETWORK, format!("{}: the server sent more than {total} bytes", self.url));
                partial.restart(Version { url: self.url.to_owned(), ..Version::default() })?;
                Ok(Attempt::Broken(failure))
            }
            _ => Ok(Attempt::Whole),
        }
    }

    fn drop_bytes(&self, partial: &mut Partial, kept: &mut u64, version: Version) -> Result<()> {
        if partial.len > 0 {
            self.console.remark("starting from the beginning: the server cannot continue this download");
        }
        *kept = 0;
        partial.restart(version)
    }

    fn version(&self, response: &Response<Body>) -> Version {
        let headers = response.headers();
        Version {
            url: self.url.to_owned(),
            etag: text(headers, header::ETAG),
            last_modified: text(headers, header::LAST_MODIFIED),
            total: text(headers, header::CONTENT_LENGTH).and_then(|n| n.parse().ok()),
        }
    }

    fn broken(&self, error: &ureq::Error) -> Result<Attempt> {
        let failure = Failure::new(NETWORK, format!("{}: {error}", self.url));
        match error {
            ureq::Error::BadUri(_) | ureq::Error::Http(_) | ureq::Error::Tls(_) => Err(failure),
            ureq::Error::HostNotFound => Err(failure.hint("is this machine online?")),
            _ => Ok(Attempt::Broken(failure)),
        }
    }

    /// Says so before the download rather than after most of it.
    fn check_space(&self, needed: u64) -> Result<()> {
        #[cfg(unix)]
        if let Some(folder) = self.place.parent()
            && let Ok(stat) = nix::sys::statvfs::statvfs(if folder.as_os_str().is_empty() {
                Path::new(".")
            } else {
                folder
            })
        {
            #[allow(clippy::unnecessary_cast, reason = "the width differs between systems")]
            let free = stat.blocks_available() as u64 * stat.fragment_size() as u64;
            if free < needed {
                let (needed, free) = (console::bytes(needed), console::bytes(free));
                let text = format!("{}: {needed} are needed, {free} are free", folder.display());
                return Err(
                    Failure::new(NO_SPACE, text).hint("free some space, or give another --cache-dir.")
                );
            }
        }
        let _ = (needed, NO_SPACE);
        Ok(())
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

/// Whether a 206 answer is the rest of what `partial` began.
fn continues(partial: &mut Partial, headers: &HeaderMap) -> bool {
    let Some((start, total)) = text(headers, header::CONTENT_RANGE).and_then(|range| content_range(&range))
    else {
        return false;
    };
    let same_total = match (partial.version.total, total) {
        (Some(a), Some(b)) => a == b,
        _ => true,
    };
    let same_tag = match (&partial.version.etag, text(headers, header::ETAG)) {
        (Some(a), Some(b)) => *a == b,
        _ => true,
    };
    partial.version.total = partial.version.total.or(total);
    start == partial.len && same_total && same_tag
}

/// `bytes 5-9/10` → (5, Some(10)); `bytes 5-9/*` → (5, None).
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    Some((start.parse().ok()?, total))
}

/// Sleeps, but wakes for Ctrl-C.
fn pause(time: Duration) -> Result<()> {
    let end = Instant::now() + time;
    while Instant::now() < end {
        interrupt::check()?;
        std::thread::sleep(Duration::from_millis(50).min(time));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::content_range;

    #[test]
    fn content_ranges() {
        assert_eq!(content_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(content_range("bytes 5-9/*"), Some((5, None)));
        assert_eq!(content_range("bytes */10"), None);
        assert_eq!(content_range("lines 1-2/3"), None);
    }
}
