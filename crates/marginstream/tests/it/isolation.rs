//! Walks every endpoint that the served document declares, with every kind of caller, and expects what
//! the declaration says. A new endpoint is covered without a line here.

use serde_json::{Value, json};

use crate::deployment::Deployment;
use crate::http::{self, Answer};
use crate::server::{Site, marginstream, run};

const ROLES: [&str; 4] = ["viewer", "member", "admin", "owner"];

/// One method of one path, as the document has it.
#[derive(Debug, Clone)]
struct Operation {
    verb: String,
    path: String,
    kind: String,
    min_role: Option<String>,
    min_tier: Option<String>,
    has_body: bool,
}

impl Operation {
    fn name(&self) -> String {
        format!("{} {}", self.verb, self.path)
    }

    /// The path with the ids of one tenant's things; others get an id that nothing has.
    fn path_of(&self, tenant: &Tenant) -> String {
        let id = match self.path.as_str() {
            path if path.starts_with("/api/keys/") => tenant.key_id.clone(),
            path if path.contains("/invitations/") => uuid(9),
            _ => format!("ns_evt_{}", uuid(9)),
        };
        self.path
            .replace("{org}", &tenant.org)
            .replace("{user}", &format!("ns_usr_{}", uuid(9)))
            .replace("{id}", &id)
            .replace("{customer}", "nobody")
    }

    /// Whether a call without a body may change something for good.
    fn acts_without_body(&self) -> bool {
        self.verb != "GET" && !self.has_body
    }
}

fn uuid(digit: u8) -> String {
    let run = |length: usize| digit.to_string().repeat(length);
    format!("{}-{}-4{}-8{}-{}", run(8), run(4), run(3), run(3), run(12))
}

/// An organization with a member of each role.
struct Tenant {
    org: String,
    key: String,
    key_id: String,
    revoked_key: String,
    /// Cookies, in the order of [`ROLES`].
    sessions: Vec<String>,
}

struct Installation {
    site: Site,
    operations: Vec<Operation>,
}

impl Installation {
    fn start() -> Self {
        let site = Site::new();
        let mut command = site.standalone();
        command.args(["--sign-in-per-ip-per-min", "0"]);
        site.start_command(command);
        let document = http::send(site.listen, "GET", "/api/openapi.json", &[], b"")
            .unwrap()
            .expect(200)
            .json();
        let operations = operations(&document);
        assert!(operations.len() > 30, "{}", operations.len());
        Self { site, operations }
    }

    fn admin(&self, arguments: &[&str]) -> Value {
        let output = run(marginstream()
            .arg("admin")
            .args(arguments)
            .arg("--json")
            .arg("--data")
            .arg(&self.site.data));
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {text}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn tenant(&self, name: &str, tier: &str) -> Tenant {
        let address = |role: &str| format!("{role}@{name}.test");
        let owner = address("owner");
        let made = self.admin(&["bootstrap", "--org", name, "--email", &owner, "--tier", tier]);
        let org = made["orgId"].as_str().unwrap().to_owned();
        let mut sessions = Vec::new();
        for role in &ROLES[..3] {
            let email = address(role);
            let user = self.admin(&["users", "create", &email]);
            self.admin(&["orgs", "add-member", &email, "--role", role, "--org", &org]);
            let session = self.sign_in(&email, &user["password"]);
            self.switch(&session, &org);
            sessions.push(session);
        }
        sessions.push(self.sign_in(&owner, &made["password"]));
        let new_key = |label: &str| {
            self.admin(&[
                "keys", "create", "--email", &owner, "--name", label, "--org", &org,
            ])
        };
        let (kept, revoked) = (new_key("kept"), new_key("revoked"));
        self.admin(&["keys", "revoke", revoked["id"].as_str().unwrap(), "--org", &org]);
        Tenant {
            key: made["apiKey"].as_str().unwrap().to_owned(),
            key_id: kept["id"].as_str().unwrap().to_owned(),
            revoked_key: revoked["apiKey"].as_str().unwrap().to_owned(),
            org,
            sessions,
        }
    }

    fn sign_in(&self, email: &str, password: &Value) -> String {
        let body = json!({ "email": email, "password": password }).to_string();
        let headers = [("Content-Type", "application/json")];
        let answer = http::send(
            self.site.listen,
            "POST",
            "/api/auth/login",
            &headers,
            body.as_bytes(),
        );
        let answer = answer.unwrap().expect(200);
        let cookie = answer.header("set-cookie").unwrap();
        cookie.split(';').next().unwrap().to_owned()
    }

    fn switch(&self, session: &str, org: &str) {
        let body = json!({ "orgId": org }).to_string();
        self.site
            .with_session(session, "POST", "/api/auth/switch-org", body.as_bytes())
            .expect(200);
    }

    /// Calls without a body: what is let in and wants one is answered 415.
    fn call(&self, operation: &Operation, tenant: &Tenant, headers: &[(&str, &str)]) -> Answer {
        let path = operation.path_of(tenant);
        http::send(self.site.listen, &operation.verb, &path, headers, b"").unwrap()
    }
}

fn operations(document: &Value) -> Vec<Operation> {
    let paths = document["paths"].as_object().unwrap();
    let mut found = Vec::new();
    for (path, verbs) in paths {
        for (verb, operation) in verbs.as_object().unwrap() {
            let access = &operation["x-marginstream-access"];
            let text = |name: &str| access[name].as_str().map(str::to_owned);
            found.push(Operation {
                verb: verb.to_uppercase(),
                path: path.clone(),
                kind: text("kind").unwrap(),
                min_role: text("minRole"),
                min_tier: text("minTier"),
                has_body: operation.get("requestBody").is_some(),
            });
        }
    }
    found
}

fn assert_unauthenticated(answer: &Answer, case: &str) {
    assert_eq!(answer.status, 401, "{case}: {}", answer.text());
    assert_eq!(
        answer.json()["error"]["code"],
        "authentication_required",
        "{case}"
    );
}

/// Whether role, membership and plan let the caller pass; what follows is the handler's own.
fn is_let_in(answer: &Answer) -> bool {
    if answer.status == 401 {
        return false;
    }
    if answer.status != 403 {
        return true;
    }
    let error = &answer.json()["error"];
    let message = error["message"].as_str().unwrap();
    !message.contains("requires the")
        && !message.contains("not a member")
        && error["details"]["requiredTier"].is_null()
}

#[test]
fn every_endpoint_lets_in_whom_it_declares_and_nobody_else() {
    let installation = Installation::start();
    let (own, other) = (
        installation.tenant("acme-one", "pro"),
        installation.tenant("other-one", "pro"),
    );
    let free = installation.tenant("free-one", "free");
    for operation in &installation.operations {
        let case = operation.name();
        let call = |headers: &[(&str, &str)]| installation.call(operation, &own, headers);
        if operation.kind == "public" {
            assert!(call(&[]).status != 403, "{case}");
            continue;
        }
        // Nobody, and who only seems to be somebody.
        assert_unauthenticated(&call(&[]), &case);
        assert_unauthenticated(&call(&[("Cookie", "ns-session=0123456789abcdef")]), &case);
        for key in [
            "",
            "ns_live_sk_00000000000000000000000000000000",
            &own.revoked_key,
        ] {
            assert_unauthenticated(&call(&[("X-NullSpend-Key", key)]), &case);
        }
        match operation.kind.as_str() {
            "apiKey" => {
                assert_unauthenticated(&call(&[("Cookie", &own.sessions[3])]), &case);
                assert!(is_let_in(&call(&[("X-NullSpend-Key", &own.key)])), "{case}");
            }
            // A key is taken where the organization allows it, which this one has not.
            "session" | "pathOrg" | "reader" => {
                assert_unauthenticated(&call(&[("X-NullSpend-Key", &own.key)]), &case);
                let both = [
                    ("X-NullSpend-Key", own.key.as_str()),
                    ("Cookie", &own.sessions[3]),
                ];
                assert_unauthenticated(&call(&both), &case);
                check_roles(&installation, operation, &own);
                check_strangers(&installation, operation, &own, &other);
                check_plans(&installation, operation, &free);
            }
            kind => panic!("{case}: unknown kind {kind}"),
        }
    }
    installation.site.stop();
}

fn check_roles(installation: &Installation, operation: &Operation, own: &Tenant) {
    let min = operation.min_role.as_deref().unwrap();
    let min = ROLES.iter().position(|role| *role == min).unwrap();
    // What acts at once is tried on an organization that can be spared.
    let spared = operation.acts_without_body().then(|| {
        let name = operation
            .name()
            .to_lowercase()
            .replace(|c: char| !c.is_ascii_alphanumeric(), "");
        installation.tenant(&name, "pro")
    });
    let tenant = spared.as_ref().unwrap_or(own);
    for (level, role) in ROLES.iter().enumerate() {
        let answer = installation.call(operation, tenant, &[("Cookie", &tenant.sessions[level])]);
        let case = format!(
            "{} as {role}: {} {}",
            operation.name(),
            answer.status,
            answer.text()
        );
        assert_eq!(is_let_in(&answer), level >= min, "{case}");
        assert!(answer.status < 500, "{case}");
    }
}

/// Owners of another organization reach nothing of this one.
fn check_strangers(installation: &Installation, operation: &Operation, own: &Tenant, other: &Tenant) {
    let stranger = [
        ("Cookie", other.sessions[3].as_str()),
        ("Content-Type", "application/json"),
    ];
    let answer = installation.call(operation, own, &stranger);
    let case = format!("{}: {} {}", operation.name(), answer.status, answer.text());
    if operation.kind == "pathOrg" {
        assert_eq!(answer.status, 403, "{case}");
        let nowhere = Operation {
            path: operation.path.replace("{org}", &format!("ns_org_{}", uuid(8))),
            ..operation.clone()
        };
        assert_eq!(installation.call(&nowhere, own, &stranger).status, 403, "{case}");
        let malformed = Operation {
            path: operation.path.replace("{org}", "ns_org_x"),
            ..operation.clone()
        };
        assert_eq!(
            installation.call(&malformed, own, &stranger).status,
            400,
            "{case}"
        );
    } else if operation.path.contains("{id}") {
        let body = match operation.verb.as_str() {
            "PATCH" => &br#"{"name":"taken"}"#[..],
            _ => b"",
        };
        let path = operation.path_of(own);
        let answer = http::send(installation.site.listen, &operation.verb, &path, &stranger, body).unwrap();
        assert_eq!(answer.status, 404, "{case}: {}", answer.text());
    }
}

fn check_plans(installation: &Installation, operation: &Operation, free: &Tenant) {
    let Some(tier) = &operation.min_tier else { return };
    let answer = installation.call(operation, free, &[("Cookie", &free.sessions[3])]);
    assert_eq!(answer.status, 403, "{}: {}", operation.name(), answer.text());
    let error = &answer.json()["error"];
    assert_eq!(
        (&error["code"], &error["details"]["requiredTier"]),
        (&json!("forbidden"), &json!(tier)),
        "{}",
        operation.name()
    );
}
