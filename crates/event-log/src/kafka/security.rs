//! How clients prove who they are, and how they know the brokers.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use rdkafka::ClientConfig;

/// TLS and authentication of the connections to the brokers; the default is neither.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Security {
    /// TLS; connections are plain text if absent.
    pub tls: Option<Tls>,
    /// Authentication by user and password.
    pub sasl: Option<Sasl>,
}

/// TLS. A broker's certificate and host name are always checked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// Certificates of the authorities to trust, in a PEM file; the system's if absent.
    pub ca_file: Option<PathBuf>,
    /// The certificate to show to brokers.
    pub client: Option<ClientCertificate>,
}

/// A certificate of this client with its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate chain, a PEM file.
    pub certificate_file: PathBuf,
    /// The private key, a PEM file.
    pub key_file: PathBuf,
    /// The key's password, if it is encrypted.
    pub key_password: Option<Secret>,
}

/// A user and a password, and how to prove them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sasl {
    /// How the password is proven.
    pub mechanism: SaslMechanism,
    /// The user.
    pub user: String,
    /// The password.
    pub password: Secret,
}

/// How a password is proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaslMechanism {
    /// The password itself is sent: use it with TLS only.
    Plain,
    /// Challenge and response with SHA-256.
    ScramSha256,
    /// Challenge and response with SHA-512.
    ScramSha512,
}

impl SaslMechanism {
    /// Returns the name: `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

/// A mechanism that is none of `PLAIN`, `SCRAM-SHA-256` and `SCRAM-SHA-512`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("SASL mechanism {0:?} is none of `PLAIN`, `SCRAM-SHA-256` and `SCRAM-SHA-512`")]
pub struct ParseSaslMechanismError(String);

impl FromStr for SaslMechanism {
    type Err = ParseSaslMechanismError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Plain, Self::ScramSha256, Self::ScramSha512]
            .into_iter()
            .find(|mechanism| mechanism.as_str() == text)
            .ok_or_else(|| ParseSaslMechanismError(text.to_owned()))
    }
}

/// A password. It is not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `secret`.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Security {
    /// Sets the properties of a client.
    pub(super) fn apply(&self, client: &mut ClientConfig) {
        let protocol = match (&self.tls, &self.sasl) {
            (None, None) => "plaintext",
            (Some(_), None) => "ssl",
            (None, Some(_)) => "sasl_plaintext",
            (Some(_), Some(_)) => "sasl_ssl",
        };
        client.set("security.protocol", protocol);
        if let Some(tls) = &self.tls {
            tls.apply(client);
        }
        if let Some(sasl) = &self.sasl {
            client
                .set("sasl.mechanism", sasl.mechanism.as_str())
                .set("sasl.username", &sasl.user)
                .set("sasl.password", &sasl.password.0);
        }
    }
}

impl Tls {
    fn apply(&self, client: &mut ClientConfig) {
        let mut set_path = |name: &str, path: &PathBuf| {
            client.set(name, path.to_string_lossy());
        };
        if let Some(ca_file) = &self.ca_file {
            set_path("ssl.ca.location", ca_file);
        }
        let Some(own) = &self.client else { return };
        set_path("ssl.certificate.location", &own.certificate_file);
        set_path("ssl.key.location", &own.key_file);
        if let Some(password) = &own.key_password {
            client.set("ssl.key.password", &password.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        let sasl = Sasl {
            mechanism: SaslMechanism::ScramSha512,
            user: "agent".to_owned(),
            password: Secret::new("hunter2"),
        };
        let shown = format!("{sasl:?}");
        assert!(shown.contains("agent") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn the_protocol_follows_from_what_is_set() {
        let sasl = Sasl {
            mechanism: "PLAIN".parse().unwrap(),
            user: "u".to_owned(),
            password: Secret::new("p"),
        };
        for (tls, sasl, protocol) in [
            (None, None, "plaintext"),
            (Some(Tls::default()), None, "ssl"),
            (None, Some(sasl.clone()), "sasl_plaintext"),
            (Some(Tls::default()), Some(sasl), "sasl_ssl"),
        ] {
            let mut client = ClientConfig::new();
            Security { tls, sasl }.apply(&mut client);
            assert_eq!(client.get("security.protocol"), Some(protocol));
        }
    }
}
