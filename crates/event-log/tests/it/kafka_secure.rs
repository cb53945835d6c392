//! TLS and passwords, against a broker that asks for both.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use marginstream_event_log::{
    ClientCertificate, EventLog, KafkaLog, KafkaLogConfig, LogError, Sasl, SaslMechanism, Secret, Security,
    Tls, TopicPartition,
};

use crate::kafka_cluster::{OwnCluster, config};
use crate::support::{read_until, record, topic};

const PASSWORD: &str = "correct-horse";

fn openssl(dir: &Path, arguments: &str) {
    let arguments = arguments.split(' ');
    let output = Command::new("openssl")
        .args(arguments)
        .current_dir(dir)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Makes an authority, and certificates of it for the broker and the client.
fn make_certificates(dir: &Path) {
    openssl(
        dir,
        "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=authority",
    );
    for name in ["broker", "client"] {
        openssl(
            dir,
            &format!(
                "req -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.csr -subj /CN={name} \
                 -addext subjectAltName=IP:127.0.0.1"
            ),
        );
        openssl(
            dir,
            &format!(
                "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
                 -copy_extensions copy -out {name}.pem"
            ),
        );
    }
    let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap();
    fs::write(dir.join("keystore.pem"), read("broker.key") + &read("broker.pem")).unwrap();
}

/// Gives the broker a listener with TLS and passwords beside its plain one, and returns its address.
fn add_secure_listener(cluster: &OwnCluster, certificates: &Path) -> String {
    cluster.run(&["stop"]);
    let properties = cluster.dir().join("node-1/server.properties");
    let known = fs::read_to_string(&properties).unwrap();
    let value = |name: &str| {
        known
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap()
            .to_owned()
    };
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let (listeners, advertised) = (value("listeners="), value("advertised.listeners="));
    let dir = certificates.display();
    let plain = "org.apache.kafka.common.security.plain.PlainLoginModule";
    let scram = "org.apache.kafka.common.security.scram.ScramLoginModule";
    let secure = "listener.name.secure";
    let added = format!(
        "listeners={listeners},SECURE://127.0.0.1:{port}
advertised.listeners={advertised},SECURE://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL
{secure}.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
{secure}.plain.sasl.jaas.config={plain} required user_agent=\"{PASSWORD}\";
{secure}.scram-sha-256.sasl.jaas.config={scram} required;
{secure}.scram-sha-512.sasl.jaas.config={scram} required;
{secure}.ssl.client.auth=required
ssl.keystore.type=PEM
ssl.keystore.location={dir}/keystore.pem
ssl.truststore.type=PEM
ssl.truststore.location={dir}/ca.pem
"
    );
    OpenOptions::new()
        .append(true)
        .open(&properties)
        .unwrap()
        .write_all(added.as_bytes())
        .unwrap();
    cluster.run(&["start"]);
    format!("127.0.0.1:{port}")
}

/// Stores the password for challenge and response, with Kafka's own tool.
fn add_scram_user(cluster: &OwnCluster) {
    for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let output = Command::new("java")
            .args([
                "-cp",
                &OwnCluster::class_path(),
                "kafka.admin.ConfigCommand",
                "--bootstrap-server",
            ])
            .args([
                &cluster.brokers,
                "--alter",
                "--entity-type",
                "users",
                "--entity-name",
                "agent",
            ])
            .args(["--add-config", &format!("{mechanism}=[password={PASSWORD}]")])
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

fn security(certificates: &Path, mechanism: SaslMechanism, password: &str) -> Security {
    let path = |name: &str| -> PathBuf { certificates.join(name) };
    Security {
        tls: Some(Tls {
            ca_file: Some(path("ca.pem")),
            client: Some(ClientCertificate {
                certificate_file: path("client.pem"),
                key_file: path("client.key"),
                key_password: None,
            }),
        }),
        sasl: Some(Sasl {
            mechanism,
            user: "agent".to_owned(),
            password: Secret::new(password),
        }),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_with_certificate_and_password_is_needed_and_enough() {
    let Some(cluster) = OwnCluster::start().await else {
        return;
    };
    let certificates = tempfile::tempdir().unwrap();
    let dir = certificates.path();
    make_certificates(dir);
    let address = add_secure_listener(&cluster, dir);
    add_scram_user(&cluster);
    let with = |security| KafkaLogConfig {
        security,
        request_timeout: Duration::from_secs(5),
        ..config(&address, vec![topic("t", 1)])
    };
    let mechanisms = [
        SaslMechanism::Plain,
        SaslMechanism::ScramSha256,
        SaslMechanism::ScramSha512,
    ];
    for (mechanism, offset) in mechanisms.into_iter().zip(0..) {
        let log = KafkaLog::open(with(security(dir, mechanism, PASSWORD)))
            .await
            .unwrap();
        assert_eq!(
            log.append("t", vec![record(0, "secret")]).await.unwrap(),
            [offset]
        );
        let member = log.join("g", &["t"]).await.unwrap();
        let tp = TopicPartition::new("t", 0);
        assert_eq!(
            read_until(&*member, &tp, offset, offset + 1).await[0].value,
            "secret"
        );
        log.shutdown().await.unwrap();
    }

    let refused = KafkaLog::open(with(security(dir, SaslMechanism::ScramSha512, "wrong"))).await;
    let error = refused.unwrap_err();
    assert!(
        matches!(error, LogError::Backend { retryable: false, .. }),
        "{error:?}"
    );
    assert!(format!("{error:?}").contains("Authentication"), "{error:?}");
    let mut without_certificate = security(dir, SaslMechanism::Plain, PASSWORD);
    without_certificate.tls = Some(Tls {
        ca_file: Some(dir.join("ca.pem")),
        client: None,
    });
    let mut another_authority = security(dir, SaslMechanism::Plain, PASSWORD);
    another_authority.tls = Some(Tls::default());
    for security in [without_certificate, another_authority, Security::default()] {
        KafkaLog::open(with(security)).await.unwrap_err();
    }
    let mut no_such_file = security(dir, SaslMechanism::Plain, PASSWORD);
    no_such_file.tls = Some(Tls {
        ca_file: Some(dir.join("nowhere.pem")),
        client: None,
    });
    let error = KafkaLog::open(with(no_such_file)).await.unwrap_err();
    assert!(
        matches!(&error, LogError::Config(what) if what.contains("ssl.ca.location")),
        "{error:?}"
    );
}
