//! Questions to the Hub.

use std::fs::OpenOptions;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use hf_hub::{Cache, CacheRepo, Repo, RepoType};
use serde::Deserialize;
use ureq::config::RedirectAuthHeaders;
use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body};

use super::transfer::{self, Announced, Watch};
use super::{HubError, RepositoryId};

/// Answers that send on within the Hub.
const REDIRECTS: usize = 5;

/// A Hub and the cache of what came from it.
pub struct Hub {
    agent: Agent,
    endpoint: String,
    cache: Cache,
    token: Option<String>,
    offline: bool,
}

/// The files of a repository at one commit.
#[derive(Clone, Debug)]
pub struct Listing {
    pub commit: String,
    pub files: Vec<String>,
}

impl Hub {
    /// As the environment says: `HF_ENDPOINT`, `HF_HOME`, `HF_TOKEN`, `HF_HUB_OFFLINE`.
    pub fn from_env() -> Self {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let cache = Cache::from_env();
        let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into());
        let token = variable("HF_TOKEN").or_else(|| cache.token());
        let offline = variable("HF_HUB_OFFLINE")
            .is_some_and(|value| !["0", "false", "no"].contains(&value.to_lowercase().as_str()));
        Self::new(&endpoint, cache.path().clone(), token, offline)
    }

    /// A Hub at `endpoint` whose files are kept under `cache`.
    pub fn new(endpoint: &str, cache: PathBuf, token: Option<String>, offline: bool) -> Self {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(30)))
            // A server that falls silent; what arrived till then is used the next time.
            .timeout_recv_response(Some(Duration::from_secs(60)))
            .timeout_per_read(Some(Duration::from_secs(60)))
            // Within the Hub only, never to a storage host.
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            .user_agent(concat!("partial-res/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Self {
            agent,
            endpoint: endpoint.trim_end_matches('/').into(),
            cache: Cache::new(cache),
            token,
            offline,
        }
    }

    pub fn is_offline(&self) -> bool {
        self.offline
    }

    /// What the repository holds at a branch, tag or commit.
    pub fn list(&self, repository: &RepositoryId, revision: &str) -> Result<Listing, HubError> {
        if self.offline {
            return self.cached(repository, revision);
        }
        #[derive(Deserialize)]
        struct Sibling {
            rfilename: String,
        }
        #[derive(Deserialize)]
        struct Model {
            sha: String,
            siblings: Vec<Sibling>,
        }
        let url = format!("{}/api/models/{repository}/revision/{}", self.endpoint, escaped(revision));
        let mut response = self.ask("GET", &url, 0, true)?;
        self.refuse(&response, &url, repository, revision, None)?;
        let text = response
            .body_mut()
            .read_to_string()
            .map_err(|error| HubError::Unreachable { url: url.clone(), message: error.to_string() })?;
        if text.trim_start().starts_with('<') {
            return Err(HubError::WebPage { url });
        }
        let answer = |message| HubError::Answer { url: url.clone(), message };
        let model: Model = serde_json::from_str(&text).map_err(|error| answer(error.to_string()))?;
        if !is_plain(&model.sha) {
            return Err(answer(format!("commit `{}`", model.sha)));
        }
        Ok(Listing { commit: model.sha, files: model.siblings.into_iter().map(|s| s.rfilename).collect() })
    }

    fn cached(&self, repository: &RepositoryId, revision: &str) -> Result<Listing, HubError> {
        let missing = || HubError::Offline { what: repository.to_string(), cache: self.cache.path().clone() };
        let folder = self.folder(repository);
        let reference = std::fs::read_to_string(folder.join("refs").join(revision));
        let commit = reference.map_or_else(|_| revision.to_owned(), |text| text.trim().to_owned());
        let snapshot = folder.join("snapshots").join(&commit);
        let mut files = Vec::new();
        let mut open = vec![snapshot.clone()];
        while let Some(dir) = open.pop() {
            for entry in std::fs::read_dir(&dir).map_err(|_| missing())? {
                let path = entry.map_err(|_| missing())?.path();
                match path.strip_prefix(&snapshot) {
                    Ok(_) if path.is_dir() => open.push(path),
                    Ok(name) => files.push(name.display().to_string()),
                    Err(_) => {}
                }
            }
        }
        files.sort();
        Ok(Listing { commit, files })
    }

    /// One file, from the cache if it is there; the path under the snapshot of its commit.
    ///
    /// # Errors
    /// Every [`HubError`]; what arrived before an interruption is used the next time.
    pub fn file(
        &self,
        repository: &RepositoryId,
        revision: &str,
        file: &str,
        watch: &mut dyn Watch,
    ) -> Result<PathBuf, HubError> {
        if Path::new(file).components().any(|part| !matches!(part, Component::Normal(_))) {
            return Err(HubError::UnsafePath { repository: repository.to_string(), file: file.into() });
        }
        let cached = self.repo(repository, revision);
        if self.offline {
            let by_commit = cached.pointer_path(revision).join(file);
            return cached.get(file).or_else(|| by_commit.exists().then_some(by_commit)).ok_or_else(|| {
                HubError::Offline {
                    what: format!("{file} of {repository}"),
                    cache: self.cache.path().clone(),
                }
            });
        }
        let mut url =
            format!("{}/{repository}/resolve/{}/{}", self.endpoint, escaped(revision), escaped_path(file));
        let mut head = self.ask("HEAD", &url, 0, false)?;
        self.refuse(&head, &url, repository, revision, Some(file))?;
        // Small files lie elsewhere within the Hub, renamed repositories do; only what is there tells the size.
        for _ in 0..REDIRECTS {
            let Some(next) = self.elsewhere_within(&head) else { break };
            url = next;
            head = self.ask("HEAD", &url, 0, false)?;
            self.refuse(&head, &url, repository, revision, Some(file))?;
        }
        let (commit, announced) = announced(&head, &url, file)?;
        let pointer = cached.pointer_path(&commit).join(file);
        let blobs = self.folder(repository).join("blobs");
        let blob = blobs.join(&announced.etag);
        if !blob.exists() {
            std::fs::create_dir_all(&blobs)
                .map_err(|source| HubError::Write { path: blobs.clone(), source })?;
            // One process after the other, where Python has its locks: two would write into one another.
            let locks = self.cache.path().join(".locks").join(Self::folder_name(repository));
            std::fs::create_dir_all(&locks)
                .map_err(|source| HubError::Write { path: locks.clone(), source })?;
            let path = locks.join(format!("{}.lock", announced.etag));
            let lock = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
            let lock = lock.map_err(|source| HubError::Write { path, source })?;
            // A file system without locks has one user, hopefully.
            lock.lock().ok();
            if !blob.exists() {
                self.fetch(&url, repository, revision, &announced, &blob, watch)?;
            }
        }
        point(&pointer, &blob)?;
        self.refer(repository, revision, &commit)?;
        Ok(pointer)
    }

    /// Notes which commit a branch or tag is, for those who ask without a network.
    pub fn refer(&self, repository: &RepositoryId, revision: &str, commit: &str) -> Result<(), HubError> {
        let path = self.folder(repository).join("refs").join(revision);
        // A cache of others may be ours to read only.
        if revision == commit || std::fs::read_to_string(&path).is_ok_and(|noted| noted.trim() == commit) {
            return Ok(());
        }
        let noted = self.repo(repository, revision).create_ref(commit);
        noted.map_err(|source| HubError::Write { path, source })
    }

    /// Where an answer sends to, if that is a place of the Hub itself and no storage host.
    fn elsewhere_within(&self, head: &Response<Body>) -> Option<String> {
        let place = header(head, "location").filter(|_| head.status().is_redirection())?;
        let authority = self.endpoint.find("://").map_or(0, |at| at + 3);
        let host = self.endpoint[authority..].find('/').map_or(self.endpoint.len(), |at| authority + at);
        let host = &self.endpoint[..host];
        if place.starts_with('/') && !place.starts_with("//") {
            return Some(format!("{host}{place}"));
        }
        // Storage of large files may be on the same host; it is told by the size that comes with it.
        let within = place.strip_prefix(host).is_some_and(|rest| rest.starts_with('/'));
        (within && header(head, "x-linked-size").is_none()).then_some(place)
    }

    fn fetch(
        &self,
        url: &str,
        repository: &RepositoryId,
        revision: &str,
        announced: &Announced,
        blob: &Path,
        watch: &mut dyn Watch,
    ) -> Result<(), HubError> {
        let mut partial = blob.as_os_str().to_owned();
        partial.push(".incomplete");
        let partial = PathBuf::from(partial);
        let mut start = partial.metadata().map_or(0, |data| data.len());
        if start < announced.size {
            let mut response = self.ask("GET", url, start, true)?;
            self.refuse(&response, url, repository, revision, Some(&announced.file))?;
            if header(&response, "content-type").is_some_and(|kind| kind.contains("text/html")) {
                return Err(HubError::WebPage { url: url.into() });
            }
            if start > 0 && response.status() != StatusCode::PARTIAL_CONTENT {
                start = 0;
                std::fs::remove_file(&partial)
                    .map_err(|source| HubError::Write { path: partial.clone(), source })?;
            }
            watch.grew(&announced.file, start, announced.size);
            transfer::append(announced, &partial, response.body_mut().as_reader(), watch)?;
        }
        transfer::verify(announced, &partial)?;
        std::fs::rename(&partial, blob).map_err(|source| HubError::Write { path: blob.into(), source })
    }

    /// HEAD must not follow redirects: the Hub's own answer has the hash, the storage's has not.
    fn ask(&self, method: &str, url: &str, from: u64, follow: bool) -> Result<Response<Body>, HubError> {
        let request = if method == "HEAD" { self.agent.head(url) } else { self.agent.get(url) };
        let mut request = request
            .config()
            .max_redirects(if follow { 10 } else { 0 })
            .max_redirects_will_error(follow)
            .build();
        request = request.header("Accept-Encoding", "identity");
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        if from > 0 {
            request = request.header("Range", format!("bytes={from}-"));
        }
        request.call().map_err(|error| HubError::Unreachable { url: url.into(), message: error.to_string() })
    }

    fn refuse(
        &self,
        response: &Response<Body>,
        url: &str,
        repository: &RepositoryId,
        revision: &str,
        file: Option<&str>,
    ) -> Result<(), HubError> {
        let (url, repository_name, revision) = (url.to_owned(), repository.to_string(), revision.to_owned());
        let code = header(response, "x-error-code").unwrap_or_default();
        Err(match (response.status().as_u16(), code.as_str(), file) {
            (200..=399, _, _) => return Ok(()),
            (_, "GatedRepo", _) => HubError::Gated { repository: repository_name },
            // To those whom it doesn't know the Hub says 401 about what is not there.
            (401 | 404, "RepoNotFound", _) => HubError::NoRepository { repository: repository_name },
            (401, _, _) => HubError::Unauthorised { url, repository: repository_name },
            (403, _, _) => HubError::Forbidden { url, repository: repository_name },
            (404, "RevisionNotFound", _) => HubError::NoRevision { repository: repository_name, revision },
            (404, "EntryNotFound", Some(file)) => {
                let known = self.list(repository, &revision).map_or(Vec::new(), |listing| listing.files);
                HubError::NoFile { repository: repository_name, revision, file: file.into(), known }
            }
            (404, _, None) => HubError::NoRepository { repository: repository_name },
            (status, _, _) => HubError::Status { url, status },
        })
    }

    fn repo(&self, repository: &RepositoryId, revision: &str) -> CacheRepo {
        self.cache.repo(Repo::with_revision(repository.to_string(), RepoType::Model, revision.into()))
    }

    fn folder_name(repository: &RepositoryId) -> String {
        Repo::model(repository.to_string()).folder_name()
    }

    fn folder(&self, repository: &RepositoryId) -> PathBuf {
        self.cache.path().join(Self::folder_name(repository))
    }
}

fn header(response: &Response<Body>, name: &str) -> Option<String> {
    response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// Whether a hash or a commit may be the name of a file in the cache: no path to elsewhere.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
}

/// Commit, and what the file is; from a HEAD answer of the Hub itself.
fn announced(head: &Response<Body>, url: &str, file: &str) -> Result<(String, Announced), HubError> {
    let need = |names: [&'static str; 2]| {
        let found = names.iter().find_map(|name| header(head, name));
        found.ok_or(HubError::Header { url: url.into(), header: names[1] })
    };
    let etag = need(["x-linked-etag", "etag"])?;
    let etag = etag.trim_start_matches("W/").trim_matches('"').to_owned();
    let commit = need(["x-repo-commit", "x-repo-commit"])?;
    if !is_plain(&etag) || !is_plain(&commit) {
        return Err(HubError::Answer {
            url: url.into(),
            message: format!("ETag `{etag}`, commit `{commit}`"),
        });
    }
    // The length of a redirection is that of its own text.
    let own = if head.status().is_redirection() { "x-linked-size" } else { "content-length" };
    let size = need(["x-linked-size", own])?;
    let size = size
        .parse()
        .map_err(|_| HubError::Answer { url: url.into(), message: format!("the size is `{size}`") })?;
    Ok((commit, Announced { file: file.into(), etag, size }))
}

/// `snapshots/<commit>/<file>` -> `blobs/<etag>`: a link where the system has them, else a copy.
fn point(pointer: &Path, blob: &Path) -> Result<(), HubError> {
    let failed = |source| HubError::Write { path: pointer.into(), source };
    if pointer.exists() {
        return Ok(());
    }
    let folder = pointer.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(failed)?;
    #[cfg(unix)]
    {
        // Relative, as Python writes them, so that the cache can be moved.
        let up = pointer.components().count() - blob.components().count() + 1;
        let name = blob.file_name().unwrap_or_default();
        let target = (0..up).fold(PathBuf::new(), |path, _| path.join("..")).join("blobs").join(name);
        match std::os::unix::fs::symlink(target, pointer) {
            // Another process was faster.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked.map_err(failed),
        }
    }
    #[cfg(not(unix))]
    {
        std::fs::copy(blob, pointer).map_err(failed).map(|_| ())
    }
}

fn escaped(revision: &str) -> String {
    revision
        .replace('%', "%25")
        .replace('/', "%2F")
        .replace('?', "%3F")
        .replace('#', "%23")
        .replace(' ', "%20")
}

fn escaped_path(file: &str) -> String {
    file.split('/').map(escaped).collect::<Vec<_>>().join("/")
}
