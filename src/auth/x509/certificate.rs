//! Who a client's certificate speaks of. Checks no signature, time or revocation: the TLS listener did before.

use super::dn::DistinguishedName;
use crate::domain::{Error, Result};
use x509_parser::asn1_rs::{Any, Tag};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::X509Name;

/// The names in a certificate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CertificateNames {
    /// Whom it speaks of.
    pub subject: DistinguishedName,
    /// Who says so.
    pub issuer: DistinguishedName,
}

impl CertificateNames {
    /// Reads a certificate's DER.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it is no certificate, or has names that no written name is equal to: empty ones, values that are
    /// no text, control characters.
    pub fn read(der: &[u8]) -> Result<Self> {
        let invalid = |why: &str| Error::Invalid { what: "certificate", why: why.to_owned() };
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| invalid("is not DER"))?;
        if !rest.is_empty() {
            return Err(invalid("has something behind its end"));
        }
        let names = |what: &'static str, name: &X509Name<'_>| read(name).map_err(|why| Error::Invalid { what, why });
        Ok(Self {
            subject: names("certificate's subject", certificate.subject())?,
            issuer: names("certificate's issuer", certificate.issuer())?,
        })
    }
}

fn read(name: &X509Name<'_>) -> Result<DistinguishedName, String> {
    let mut relatives = Vec::new();
    for relative in name.iter_rdn() {
        let mut attributes = Vec::new();
        for attribute in relative.iter() {
            let kind = attribute.attr_type().to_id_string();
            let value = text(attribute.attr_value()).ok_or_else(|| format!("has no readable text as its {kind}"))?;
            attributes.push((kind, value));
        }
        relatives.push(attributes);
    }
    DistinguishedName::of(relatives)
}

/// A string of any ASN.1 type for text, if it holds only what its type may hold.
fn text(value: &Any<'_>) -> Option<String> {
    let bytes = value.data;
    match value.tag() {
        Tag::Utf8String => String::from_utf8(bytes.to_vec()).ok(),
        // Teletex strings beyond ASCII mean something else to everybody.
        Tag::PrintableString | Tag::Ia5String | Tag::NumericString | Tag::VisibleString | Tag::TeletexString => {
            bytes.is_ascii().then(|| String::from_utf8(bytes.to_vec()).ok())?
        }
        Tag::BmpString => {
            let units = units(bytes, u16::from_be_bytes)?;
            String::from_utf16(&units).ok()
        }
        Tag::UniversalString => units(bytes, u32::from_be_bytes)?.into_iter().map(char::from_u32).collect(),
        _ => None,
    }
}

/// The numbers of `N` bytes each that some bytes hold; none when some are left over.
fn units<const N: usize, U>(bytes: &[u8], unit: impl Fn([u8; N]) -> U) -> Option<Vec<U>> {
    let (whole, rest) = bytes.as_chunks::<N>();
    rest.is_empty().then(|| whole.iter().map(|bytes| unit(*bytes)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::string::{BmpString, TeletexString, UniversalString};
    use rcgen::{CertificateParams, DnType, DnValue, KeyPair};

    fn certificate(attributes: &[(DnType, DnValue)]) -> Vec<u8> {
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in attributes {
            params.distinguished_name.push(kind.clone(), value.clone());
        }
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn written(text: &str) -> DistinguishedName {
        DistinguishedName::parse("subject", text).unwrap()
    }

    #[test]
    fn a_certificates_names_are_equal_to_written_ones_in_both_forms() {
        let der = certificate(&[
            (DnType::CountryName, DnValue::from("GR")),
            (DnType::OrganizationName, DnValue::from("Site, Inc.")),
            (DnType::CommonName, DnValue::from("host/a.example.org")),
        ]);
        let names = CertificateNames::read(&der).unwrap();
        assert_eq!(names.subject, names.issuer);
        assert_eq!(names.subject, written("CN=host/a.example.org,O=Site\\, Inc.,C=GR"));
        assert_ne!(names.subject, written("C=GR,O=Site\\, Inc.,CN=host/a.example.org"), "the order counts");
    }

    #[test]
    fn the_string_type_does_not_count_but_its_text_does() {
        for value in [
            DnValue::from("Zeus"),
            DnValue::PrintableString("Zeus".try_into().unwrap()),
            DnValue::Ia5String("Zeus".try_into().unwrap()),
            DnValue::TeletexString(TeletexString::try_from("Zeus").unwrap()),
            DnValue::BmpString(BmpString::try_from("Zeus").unwrap()),
            DnValue::UniversalString(UniversalString::try_from("Zeus").unwrap()),
        ] {
            let names = CertificateNames::read(&certificate(&[(DnType::CommonName, value.clone())])).unwrap();
            assert_eq!(names.subject, written("CN=Zeus"), "{value:?}");
        }
        let accents = CertificateNames::read(&certificate(&[(DnType::CommonName, DnValue::from("Ζεύς"))])).unwrap();
        assert_eq!(accents.subject, written("CN=Ζεύς"));
    }

    #[test]
    fn a_forged_name_is_equal_to_no_other_or_is_refused() {
        let named = |value: &str| CertificateNames::read(&certificate(&[(DnType::CommonName, DnValue::from(value))]));
        for forged in ["robot\0.evil.org", "robot\n", "\u{1b}[2J"] {
            assert!(named(forged).unwrap_err().to_string().contains("control character"), "{forged:?}");
        }
        for forged in ["robot,O=Site", "robot/O=Site", "robot+O=Site", "robot ", "r\u{43e}bot", "robot\\,O=Site"] {
            let subject = named(forged).unwrap().subject;
            assert_ne!(subject, written("CN=robot,O=Site"), "{forged}");
            assert_ne!(subject, written("/O=Site/CN=robot"), "{forged}");
            assert_ne!(subject, written("CN=robot"), "{forged}");
        }
        assert!(CertificateNames::read(&certificate(&[])).unwrap_err().to_string().contains("is empty"));
    }

    #[test]
    fn what_is_no_certificate_is_refused() {
        let der = certificate(&[(DnType::CommonName, DnValue::from("robot"))]);
        for cut in [0, 1, der.len() / 2, der.len() - 1] {
            assert!(CertificateNames::read(&der[..cut]).is_err());
        }
        assert!(CertificateNames::read(&[&der[..], b"x"].concat()).is_err());
    }
}
