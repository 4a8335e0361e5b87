//! Tokens, and where the image service is.

use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, Uri, header};
use secret::Secret;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::error::{Error, Result};
use crate::http::{Client, Outgoing, Request, address};

/// Who asks.
#[derive(Debug, Clone)]
pub struct Credentials(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Password { user: String, user_domain: String, password: Secret, project: String, project_domain: String },
    Application { id: String, secret: Secret },
    Token(Secret),
}

impl Credentials {
    /// A user of the domain `Default` with a password, in a project of the same domain.
    pub fn password(
        user: impl Into<String>,
        password: impl Into<Secret>,
        project: impl Into<String>,
    ) -> Self {
        let domain = || "Default".to_owned();
        Self(Kind::Password {
            user: user.into(),
            user_domain: domain(),
            password: password.into(),
            project: project.into(),
            project_domain: domain(),
        })
    }

    /// For a password, the names of the domains that the user and the project are in.
    pub fn domains(mut self, of_user: impl Into<String>, of_project: impl Into<String>) -> Self {
        if let Kind::Password { user_domain, project_domain, .. } = &mut self.0 {
            (*user_domain, *project_domain) = (of_user.into(), of_project.into());
        }
        self
    }

    /// An application credential; its project is its own.
    pub fn application(id: impl Into<String>, secret: impl Into<Secret>) -> Self {
        Self(Kind::Application { id: id.into(), secret: secret.into() })
    }

    /// A token of somebody who has logged in already. It is used as it is and cannot be renewed.
    pub fn token(token: impl Into<Secret>) -> Self {
        Self(Kind::Token(token.into()))
    }

    fn secret(&self) -> &Secret {
        match &self.0 {
            Kind::Password { password: secret, .. }
            | Kind::Application { secret, .. }
            | Kind::Token(secret) => secret,
        }
    }

    /// What the `OS_*` variables of OpenStack's own tools say, read through `variable`: `OS_TOKEN`;
    /// `OS_APPLICATION_CREDENTIAL_ID` and `_SECRET`; or `OS_USERNAME`, `OS_PASSWORD`, `OS_PROJECT_NAME`,
    /// `OS_USER_DOMAIN_NAME` and `OS_PROJECT_DOMAIN_NAME`.
    ///
    /// # Errors
    /// [`Error::Invalid`] that names the variable that is missing.
    pub fn from_env(variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let get = |name: &str| variable(name).filter(|value| !value.is_empty());
        let need = |name: &str| {
            get(name).ok_or_else(|| Error::Invalid {
                what: "the OpenStack credentials".into(),
                problem: format!("{name} is not set; load the openrc file of the project"),
            })
        };
        if let Some(token) = get("OS_TOKEN") {
            return Ok(Self::token(token));
        }
        if let Some(id) = get("OS_APPLICATION_CREDENTIAL_ID") {
            return Ok(Self::application(id, need("OS_APPLICATION_CREDENTIAL_SECRET")?));
        }
        let user = Self::password(need("OS_USERNAME")?, need("OS_PASSWORD")?, need("OS_PROJECT_NAME")?);
        let domain = |name| get(name).unwrap_or_else(|| "Default".to_owned());
        Ok(user.domains(domain("OS_USER_DOMAIN_NAME"), domain("OS_PROJECT_DOMAIN_NAME")))
    }

    fn body(&self) -> Value {
        let named = |name: &str| json!({ "name": name });
        match &self.0 {
            Kind::Password { user, user_domain, password, project, project_domain } => json!({"auth": {
                "identity": {"methods": ["password"], "password": {"user":
                    {"name": user, "domain": named(user_domain), "password": password.expose()}}},
                "scope": {"project": {"name": project, "domain": named(project_domain)}},
            }}),
            Kind::Application { id, secret } => json!({"auth": {
                "identity": {"methods": ["application_credential"], "application_credential":
                    {"id": id, "secret": secret.expose()}},
            }}),
            Kind::Token(_) => Value::Null,
        }
    }
}

/// The identity service. Clones share the token.
#[derive(Clone)]
pub struct Keystone {
    pub(super) client: Client,
    url: String,
    credentials: Credentials,
    region: Option<String>,
    interface: String,
    session: Arc<Mutex<Option<Session>>>,
}

/// A token and what it is good for.
#[derive(Clone)]
pub(super) struct Session {
    token: Secret,
    pub(super) endpoints: Vec<Uri>,
}

impl Session {
    pub(super) fn header(&self) -> Result<HeaderValue> {
        let mut value = HeaderValue::from_str(self.token.expose()).map_err(|_| Error::Invalid {
            what: "the token".into(),
            problem: "there are characters in it that no token has".into(),
        })?;
        value.set_sensitive(true);
        Ok(value)
    }
}

#[derive(Deserialize)]
struct Granted {
    token: Token,
}

#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    catalog: Vec<Service>,
}

#[derive(Deserialize)]
struct Catalog {
    catalog: Vec<Service>,
}

#[derive(Deserialize)]
struct Service {
    #[serde(rename = "type")]
    kind: String,
    endpoints: Vec<Endpoint>,
}

#[derive(Deserialize)]
struct Endpoint {
    interface: String,
    #[serde(default)]
    region: Option<String>,
    url: String,
}

impl Keystone {
    /// The identity service at `auth_url`, with or without `/v3` at its end.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an address that is none.
    pub fn new(client: Client, auth_url: &str, credentials: Credentials) -> Result<Self> {
        address(auth_url)?;
        let url = auth_url.trim_end_matches('/').trim_end_matches("/v3");
        Ok(Self {
            client,
            url: format!("{url}/v3"),
            credentials,
            region: None,
            interface: "public".into(),
            session: Arc::default(),
        })
    }

    /// Only image services of this region.
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = Some(region.into());
        self
    }

    /// The interface of the image service to use: `public` unless set to `internal` or `admin`.
    pub fn interface(mut self, interface: impl Into<String>) -> Self {
        self.interface = interface.into();
        self
    }

    /// The token there is, or a new one.
    pub(super) async fn session(&self) -> Result<Session> {
        let mut session = self.session.lock().await;
        if let Some(session) = &*session {
            return Ok(session.clone());
        }
        let fresh = self.authenticate().await?;
        Ok(session.insert(fresh).clone())
    }

    /// Forgets a token that was refused. Says whether a new one can be had.
    pub(super) async fn forget(&self, refused: &Session) -> bool {
        let mut session = self.session.lock().await;
        // Somebody else may have renewed it already.
        if session.as_ref().is_some_and(|session| session.token == refused.token) {
            *session = None;
        }
        !matches!(self.credentials.0, Kind::Token(_))
    }

    async fn authenticate(&self) -> Result<Session> {
        let what = format!("identity service {}", self.url);
        let (token, catalog) = if let Kind::Token(token) = &self.credentials.0 {
            let session = Session { token: token.clone(), endpoints: Vec::new() };
            let request = Request::get(address(&format!("{}/auth/catalog", self.url))?)
                .header(header::HeaderName::from_static("x-auth-token"), session.header()?);
            let mut answer = self.client.send(request).await?.expect(&what, &[200]).await?;
            (session.token, answer.json::<Catalog>().await?.catalog)
        } else {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            let uri = address(&format!("{}/auth/tokens", self.url))?;
            let body = Outgoing::text(self.credentials.body().to_string());
            let request = Request { method: Method::POST, uri, headers, body };
            let answer = self.client.send(request).await?.hiding(self.credentials.secret());
            let mut answer = answer.expect(&what, &[200, 201]).await?;
            let token = answer.text("x-subject-token").map(Secret::from);
            let token = token.ok_or_else(|| Error::Protocol {
                what: what.clone(),
                problem: "it gave no token; is this the address of Keystone?".into(),
            })?;
            (token, answer.json::<Granted>().await?.token.catalog)
        };
        Ok(Session { token, endpoints: self.image_services(catalog)? })
    }

    fn image_services(&self, catalog: Vec<Service>) -> Result<Vec<Uri>> {
        let region = |of: &Option<String>| self.region.is_none() || *of == self.region;
        catalog
            .into_iter()
            .filter(|service| service.kind == "image")
            .flat_map(|service| service.endpoints)
            .filter(|endpoint| endpoint.interface == self.interface && region(&endpoint.region))
            .map(|endpoint| address(&endpoint.url))
            .collect()
    }

    pub(super) fn describe_choice(&self) -> String {
        let region = self.region.as_ref().map_or(String::new(), |region| format!(" in region {region:?}"));
        format!("{} image service{region}", self.interface)
    }
}

impl fmt::Debug for Keystone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keystone")
            .field("url", &self.url)
            .field("credentials", &self.credentials)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_openstacks_tools() {
        let read = |pairs: &[(&str, &str)]| {
            let pairs: Vec<_> = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            Credentials::from_env(move |name| pairs.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone()))
        };
        let full = [("OS_USERNAME", "u"), ("OS_PASSWORD", "secret"), ("OS_PROJECT_NAME", "p")];
        let body = read(&full).unwrap().body();
        assert_eq!(body["auth"]["identity"]["password"]["user"]["domain"]["name"], "Default");
        assert_eq!(body["auth"]["scope"]["project"]["name"], "p");
        assert!(!format!("{:?}", read(&full).unwrap()).contains("secret"));
        assert!(read(&full[..2]).unwrap_err().to_string().contains("OS_PROJECT_NAME"));
        let id = [("OS_APPLICATION_CREDENTIAL_ID", "i"), ("OS_APPLICATION_CREDENTIAL_SECRET", "s")];
        assert_eq!(read(&id).unwrap().body()["auth"]["identity"]["methods"][0], "application_credential");
        assert!(read(&id[..1]).unwrap_err().to_string().contains("_SECRET"));
    }
}
