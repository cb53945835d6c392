use std::sync::{Arc, Mutex};

use marginstream_http::HttpConfig;
use serde_json::{Value, json};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::filter::LevelFilter;

use crate::provider::{CLIENT_SECRET, Provider, Returned, is_installed, oidc_config, returned, sign_in};
use crate::support::{Answer, Service, service};

/// The session cookie among those that an answer sets, as a browser sends it back.
fn session_cookie(answer: &Answer) -> Option<String> {
    let cookies = set_cookies(answer);
    let cookie = cookies.iter().find(|cookie| cookie.starts_with("ns-session="))?;
    Some(cookie.split(';').next().unwrap().to_owned())
}

fn set_cookies(answer: &Answer) -> Vec<String> {
    let cookies = answer.headers.get_all("set-cookie").iter();
    cookies
        .map(|cookie| cookie.to_str().unwrap().to_owned())
        .collect()
}

async fn whoami(service: &Service, answer: &Answer) -> Value {
    assert_eq!(answer.status, 302, "{}", answer.text);
    let cookie = session_cookie(answer).unwrap();
    let session = service.get("/api/auth/session", &[("cookie", &cookie)]).await;
    assert_eq!(session.status, 200, "{}", session.text);
    session.json()
}

/// No session was started, and the sign-in is over.
fn assert_refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code().as_str()), (status, code));
    assert_eq!(
        set_cookies(answer),
        ["ns-oidc=; HttpOnly; SameSite=Lax; Path=/api/auth/oidc; Max-Age=0"]
    );
}

#[tokio::test]
async fn signs_in_the_user_of_a_verified_address() {
    let Some(provider) = Provider::started("signs_in_the_user_of_a_verified_address") else {
        return;
    };
    let service = service(provider.config()).await;
    let answer = sign_in(&service, "ada", "?returnTo=/app/margins%3Fperiod%3D2026-03").await;
    assert_eq!(answer.header("location"), "/app/margins?period=2026-03");
    let cookies = set_cookies(&answer);
    assert!(
        cookies[0].ends_with("; HttpOnly; SameSite=Lax; Path=/; Max-Age=2592000"),
        "{cookies:?}"
    );
    assert_eq!(
        cookies[1],
        "ns-oidc=; HttpOnly; SameSite=Lax; Path=/api/auth/oidc; Max-Age=0"
    );
    let owner = &service.owner;
    assert_eq!(
        whoami(&service, &answer).await,
        json!({ "userId": owner.user_id, "orgId": owner.org_id, "role": "owner" })
    );
}

#[tokio::test]
async fn a_newcomer_gets_an_organization_and_is_the_same_user_next_time() {
    let Some(provider) = Provider::started("a_newcomer_gets_an_organization_and_is_the_same_user_next_time")
    else {
        return;
    };
    let service = service(provider.config()).await;
    let answer = sign_in(&service, "grace", "").await;
    assert_eq!(answer.header("location"), "/app");
    let first = whoami(&service, &answer).await;
    assert_eq!(first["role"], "owner");
    assert_ne!(first["userId"], json!(service.owner.user_id));
    assert_ne!(first["orgId"], json!(service.owner.org_id));
    let second = sign_in(&service, "grace", "").await;
    assert_eq!(whoami(&service, &second).await, first);
}

#[tokio::test]
async fn takes_the_address_from_an_id_token_that_has_it() {
    if !is_installed("takes_the_address_from_an_id_token_that_has_it") {
        return;
    }
    let provider = Provider::started_on(0, &["--claims-in-id-token"]);
    let service = service(provider.config()).await;
    let answer = sign_in(&service, "ada", "").await;
    assert_eq!(
        whoami(&service, &answer).await["userId"],
        json!(service.owner.user_id)
    );
}

#[tokio::test]
async fn an_unverified_address_of_a_user_is_refused() {
    let Some(provider) = Provider::started("an_unverified_address_of_a_user_is_refused") else {
        return;
    };
    let service = service(provider.config()).await;
    let answer = sign_in(&service, "mallory", "").await;
    assert_refused(&answer, 403, "forbidden");
}

#[tokio::test]
async fn who_is_refused_by_the_provider_is_refused_here() {
    let Some(provider) = Provider::started("who_is_refused_by_the_provider_is_refused_here") else {
        return;
    };
    let service = service(provider.config()).await;
    let returned = returned(&service, "nobody", "").await;
    assert_eq!(returned.parameter("error"), "access_denied");
    assert_refused(&returned.call(&service).await, 401, "authentication_required");
}

#[tokio::test]
async fn sends_the_browser_away_with_pkce_state_and_nonce() {
    let Some(provider) = Provider::started("sends_the_browser_away_with_pkce_state_and_nonce") else {
        return;
    };
    let service = service(HttpConfig {
        behind_tls: true,
        ..provider.config()
    })
    .await;
    let started = service.get("/api/auth/oidc/login", &[]).await;
    let url = url::Url::parse(started.header("location")).unwrap();
    let parameter = |name: &str| {
        let pair = url.query_pairs().find(|(key, _)| key == name);
        pair.map(|(_, value)| value.into_owned()).unwrap_or_default()
    };
    assert_eq!(parameter("response_type"), "code");
    assert_eq!(parameter("scope"), "openid email");
    assert_eq!(parameter("code_challenge_method"), "S256");
    for random in ["state", "nonce", "code_challenge"] {
        assert!(parameter(random).len() >= 22, "{random}: {}", parameter(random));
    }
    let set = started.header("set-cookie");
    assert!(
        set.ends_with("; HttpOnly; SameSite=Lax; Path=/api/auth/oidc; Max-Age=600; Secure"),
        "{set}"
    );
    assert!(!started.header("location").contains(CLIENT_SECRET));
}

#[tokio::test]
async fn a_callback_counts_with_its_own_cookie_and_once() {
    let Some(provider) = Provider::started("a_callback_counts_with_its_own_cookie_and_once") else {
        return;
    };
    let service = service(provider.config()).await;
    let good = returned(&service, "ada", "").await;
    let other = returned(&service, "ada", "").await;

    let without_cookie = service.get(&good.path, &[]).await;
    assert_refused(&without_cookie, 401, "authentication_required");
    let without_state = service
        .get("/api/auth/oidc/callback?code=x", &[("cookie", &good.cookie)])
        .await;
    assert_refused(&without_state, 401, "authentication_required");
    let without_code = service
        .get(
            &format!("/api/auth/oidc/callback?state={}", good.parameter("state")),
            &[("cookie", &good.cookie)],
        )
        .await;
    assert_refused(&without_code, 401, "authentication_required");
    let crossed = [
        Returned {
            cookie: other.cookie.clone(),
            ..good.clone()
        },
        good.with_parameter("state", &other.parameter("state")),
        good.with_parameter("iss", "https://another.example.com"),
    ];
    for crossed in crossed {
        assert_refused(&crossed.call(&service).await, 401, "authentication_required");
    }

    assert_eq!(good.call(&service).await.status, 302);
    assert_refused(&good.call(&service).await, 401, "authentication_required");
}

#[tokio::test]
async fn a_tampered_cookie_signs_nobody_in() {
    let Some(provider) = Provider::started("a_tampered_cookie_signs_nobody_in") else {
        return;
    };
    let service = service(provider.config()).await;
    // State, nonce, PKCE verifier, and a return path that leads elsewhere (`//evil.example`).
    for field in 0..4 {
        let mut returned = returned(&service, "ada", "").await;
        let value = returned.cookie.strip_prefix("ns-oidc=").unwrap();
        let mut fields: Vec<_> = value.split('.').map(str::to_owned).collect();
        fields[field] = match field {
            3 => "Ly9ldmlsLmV4YW1wbGU".to_owned(),
            _ => fields[field].chars().rev().collect(),
        };
        returned.cookie = format!("ns-oidc={}", fields.join("."));
        assert_refused(&returned.call(&service).await, 401, "authentication_required");
    }
}

#[tokio::test]
async fn an_id_token_that_proves_nothing_signs_nobody_in() {
    let Some(provider) = Provider::started("an_id_token_that_proves_nothing_signs_nobody_in") else {
        return;
    };
    for (fault, reason) in [
        ("audience", "Invalid audiences"),
        ("issuer", "Invalid issuer"),
        ("nonce", "Invalid nonce"),
        ("expiry", "Expired"),
        ("key", "Crypto error"),
        ("access-token", "the access token is another one's"),
        ("unsigned", "No signature found"),
        ("shared-secret", "Disallowed signature algorithm"),
    ] {
        let service = service(provider.config_of(&format!("faulty-{fault}"))).await;
        let (log, guard) = Log::capture();
        let answer = sign_in(&service, "ada", "").await;
        drop(guard);
        assert_eq!(answer.status, 401, "{fault}: {}", answer.text);
        assert_refused(&answer, 401, "authentication_required");
        assert!(log.text().contains(reason), "{fault}: {}", log.text());
    }
}

#[tokio::test]
async fn keys_that_the_provider_has_changed_are_fetched() {
    let Some(provider) = Provider::started("keys_that_the_provider_has_changed_are_fetched") else {
        return;
    };
    let service = service(provider.config()).await;
    let before = sign_in(&service, "ada", "").await;
    let before = whoami(&service, &before).await;
    let port = provider.port();
    provider.stop();
    let _restarted = Provider::started_on(port, &[]);
    let after = sign_in(&service, "ada", "").await;
    assert_eq!(whoami(&service, &after).await, before);
}

#[tokio::test]
async fn without_a_provider_nothing_is_found() {
    let service = service(HttpConfig::for_test()).await;
    for path in ["/api/auth/oidc/login?returnTo=nowhere", "/api/auth/oidc/callback"] {
        let answer = service.get(path, &[]).await;
        assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"));
    }
}

#[tokio::test]
async fn returns_to_paths_of_this_host_only() {
    let config = HttpConfig {
        oidc: Some(oidc_config("http://127.0.0.1:1", "marginstream")),
        ..HttpConfig::for_test()
    };
    let service = service(config).await;
    for elsewhere in [
        "https://evil.example",
        "//evil.example",
        "/%5Cevil.example",
        "/%09/evil.example",
        "",
    ] {
        let answer = service
            .get(&format!("/api/auth/oidc/login?returnTo={elsewhere}"), &[])
            .await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (400, "validation_error"),
            "{elsewhere}"
        );
        assert_eq!(
            answer.json()["error"]["details"]["issues"][0]["path"],
            json!(["returnTo"])
        );
    }
}

#[tokio::test]
async fn callbacks_are_limited_per_address() {
    let config = HttpConfig {
        oidc: Some(oidc_config("http://127.0.0.1:1", "marginstream")),
        sign_in_per_ip_per_min: 2,
        ..HttpConfig::for_test()
    };
    let service = service(config).await;
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(
            service
                .get("/api/auth/oidc/callback?state=guess&code=x", &[])
                .await
                .status,
        );
    }
    assert_eq!(statuses, [401, 401, 429]);
}

/// Everything that this thread logs.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Captures until the guard is dropped.
    fn capture() -> (Self, DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(LevelFilter::TRACE)
            .with_writer(move || writer.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn nothing_secret_is_logged_or_printed() {
    let Some(provider) = Provider::started("nothing_secret_is_logged_or_printed") else {
        return;
    };
    let (log, guard) = Log::capture();
    let service = service(provider.config()).await;
    let good = returned(&service, "ada", "").await;
    let answer = good.call(&service).await;
    assert_eq!(answer.status, 302);
    assert_eq!(good.call(&service).await.status, 401);
    let denied = returned(&service, "nobody", "").await;
    let forged = denied.with_parameter("error", "forged\nline");
    assert_eq!(denied.call(&service).await.status, 401);
    assert_eq!(forged.call(&service).await.status, 401);
    let forging = self::service(provider.config_of("faulty-audience")).await;
    assert_eq!(sign_in(&forging, "ada", "").await.status, 401);
    let printed = format!("{:?}", service.http);
    provider.stop();
    let down = returned_with_cached_metadata(&service).await;
    assert_eq!(down.call(&service).await.status, 503);
    drop(guard);

    let log = log.text();
    for told in [
        "invalid_grant",
        "access_denied",
        "an unknown error",
        "Connection refused",
    ] {
        assert!(log.contains(told), "{told} is missing in {log}");
    }
    let session = session_cookie(&answer).unwrap();
    let mut secrets: Vec<_> = good.cookie["ns-oidc=".len()..]
        .split('.')
        .map(str::to_owned)
        .collect();
    secrets.truncate(3);
    secrets.extend([
        good.parameter("code"),
        session["ns-session=".len()..].to_owned(),
        CLIENT_SECRET.to_owned(),
        // How every JSON Web Token begins.
        "eyJ".to_owned(),
        "ada@example.com".to_owned(),
        "forged".to_owned(),
    ]);
    for secret in secrets {
        assert!(!log.contains(&secret), "{secret} is in {log}");
        assert!(!printed.contains(&secret), "{secret} is in {printed}");
    }
}

/// A sign-in that begins while nothing has to be asked for; the provider has never seen its code.
async fn returned_with_cached_metadata(service: &Service) -> Returned {
    let started = service.get("/api/auth/oidc/login", &[]).await;
    assert_eq!(started.status, 302, "{}", started.text);
    let cookie = started.cookie();
    let state = cookie["ns-oidc=".len()..].split('.').next().unwrap().to_owned();
    Returned {
        path: format!("/api/auth/oidc/callback?code=a-code&state={state}"),
        cookie,
    }
}
