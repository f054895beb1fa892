//! A cluster's certificate authority, and the kubeconfigs that it makes people known with.

use std::path::{Path, PathBuf};

use anyhow::Result;
use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};

/// Signs what the programs of one cluster show each other.
pub(crate) struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
    folder: PathBuf,
}

/// A certificate and its key, as PEM files.
pub(crate) struct Pair {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Authority {
    /// A new one, with its files in `folder`: `ca.crt`, `ca.key`, and `accounts.key` and
    /// `accounts.pub` for the tokens of service accounts.
    pub(crate) fn in_folder(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = name("lockstep-test-cluster", None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
        ];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        std::fs::write(folder.join("ca.crt"), &certificate)?;
        std::fs::write(folder.join("ca.key"), key.serialize_pem())?;
        let accounts = KeyPair::generate()?;
        std::fs::write(folder.join("accounts.key"), accounts.serialize_pem())?;
        std::fs::write(folder.join("accounts.pub"), accounts.public_key_pem())?;
        Ok(Self { certificate, issuer: Issuer::new(params, key), folder: folder.to_owned() })
    }

    /// The path of one of its files.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A certificate for a server under these names and addresses, which may also be shown to
    /// other servers.
    pub(crate) fn server(&self, file: &str, names: &[&str]) -> Result<Pair> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = name(file, None);
        self.sign(file, params)
    }

    /// A certificate for a user, as a member of a group.
    pub(super) fn client(&self, file: &str, user: &str, group: Option<&str>) -> Result<Pair> {
        let mut params = CertificateParams::default();
        params.distinguished_name = name(user, group);
        self.sign(file, params)
    }

    /// A kubeconfig for a user, as a member of a group.
    pub(super) fn kubeconfig(
        &self,
        file: &str,
        server: &str,
        user: &str,
        group: Option<&str>,
    ) -> Result<PathBuf> {
        let pair = self.client(file, user, group)?;
        let credentials = serde_json::json!({
            "client-certificate-data": STANDARD.encode(std::fs::read(pair.certificate)?),
            "client-key-data": STANDARD.encode(std::fs::read(pair.key)?),
        });
        let path = self.folder.join(format!("{file}.kubeconfig"));
        write_kubeconfig(&path, server, &STANDARD.encode(&self.certificate), &credentials)?;
        Ok(path)
    }

    fn sign(&self, file: &str, mut params: CertificateParams) -> Result<Pair> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let pair = Pair {
            certificate: self.folder.join(format!("{file}.crt")),
            key: self.folder.join(format!("{file}.key")),
        };
        std::fs::write(&pair.certificate, params.signed_by(&key, &self.issuer)?.pem())?;
        std::fs::write(&pair.key, key.serialize_pem())?;
        Ok(pair)
    }
}

/// The only context of a kubeconfig that a test writes.
pub const CONTEXT: &str = "test";

/// Writes a kubeconfig with one context. JSON, which every reader of YAML reads.
pub(crate) fn write_kubeconfig(
    path: &Path,
    server: &str,
    authority_base64: &str,
    credentials: &serde_json::Value,
) -> Result<()> {
    let config = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": CONTEXT,
        "clusters": [{
            "name": "test",
            "cluster": { "server": server, "certificate-authority-data": authority_base64 },
        }],
        "users": [{ "name": "test", "user": credentials }],
        "contexts": [{ "name": CONTEXT, "context": { "cluster": "test", "user": "test" } }],
    });
    std::fs::write(path, serde_json::to_vec_pretty(&config)?)?;
    Ok(())
}

fn name(common: &str, group: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    if let Some(group) = group {
        name.push(DnType::OrganizationName, group);
    }
    name
}
