//! Mail to subscribers: by SMTP, or by a command that takes a whole mail (`sendmail -t -oi`). So many a minute for each project. Who gets
//! mail is somebody else's choice, so nothing that he gives may end a line of a header.

use crate::domain::ProjectId;
use lettre::message::header::ContentType;
use lettre::message::{Mailbox, Mailboxes, SinglePart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use parking_lot::Mutex;
use percent_encoding::percent_decode_str;
use std::collections::HashMap;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// Most recipients of one mail.
const RECIPIENTS_MAX: usize = 10;
/// Longest subject, in bytes.
const SUBJECT_BYTES_MAX: usize = 1_000;
/// Above so many projects with an allowance the full ones are forgotten.
const PROJECTS_MAX: usize = 10_000;

/// A mail without its text.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    to: Vec<Mailbox>,
    from: Option<Mailbox>,
    subject: String,
}

/// Reads what follows `mailto:` in a URI, with the sender and subject given beside it; the URI's own subject wins.
///
/// # Errors
/// What of it cannot be.
pub(super) fn letter(uri: &str, from: Option<&str>, subject: Option<&str>) -> Result<Letter, String> {
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    let decoded = |text: &str| {
        let text = percent_decode_str(text).decode_utf8();
        text.map(String::from).map_err(|_| "The subscriber has characters that are no text.".to_owned())
    };
    let path = one_line("The subscriber", &decoded(path)?)?;
    let own =
        query.split('&').find_map(|pair| pair.split_once('=').filter(|(key, _)| key.eq_ignore_ascii_case("subject")));
    let own = own.map(|(_, value)| decoded(value)).transpose()?;
    let subject = one_line("The subject", own.as_deref().or(subject).unwrap_or_default())?;
    if subject.len() > SUBJECT_BYTES_MAX {
        return Err(format!("The subject is longer than {SUBJECT_BYTES_MAX} bytes."));
    }
    let from = one_line("from", from.unwrap_or_default())?;
    let from = if from.is_empty() { None } else { Some(mailbox(&from)?) };
    let to: Vec<Mailbox> = path
        .parse::<Mailboxes>()
        .map_err(|_| format!("The subscriber `{path}` is no mail address."))?
        .into_iter()
        .collect();
    if to.is_empty() || to.len() > RECIPIENTS_MAX {
        return Err(format!("The subscriber must be 1 to {RECIPIENTS_MAX} mail addresses."));
    }
    Ok(Letter { to, from, subject })
}

fn one_line(what: &str, text: &str) -> Result<String, String> {
    if text.chars().any(char::is_control) { Err(format!("{what} must be one line.")) } else { Ok(text.to_owned()) }
}

fn mailbox(text: &str) -> Result<Mailbox, String> {
    text.parse().map_err(|_| format!("from: `{text}` is no mail address."))
}

/// How an SMTP server is spoken to.
#[derive(Clone, Debug)]
pub struct SmtpServer {
    /// Its host.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub tls: SmtpTls,
    /// Who logs in, with his password; nobody when the name is empty.
    pub login: (String, String),
    /// Authorities to trust beside the machine's, PEM.
    pub authorities: Option<Vec<u8>>,
}

/// How a connection to an SMTP server is protected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SmtpTls {
    /// TLS from the first byte.
    Implicit,
    /// TLS by STARTTLS, or no mail.
    StartTls,
    /// Not at all.
    Off,
}

/// Sends mail.
pub struct Mailer {
    way: MailWay,
    from: Mailbox,
    per_minute: u32,
    timeout: Duration,
    allowances: Mutex<HashMap<ProjectId, Allowance>>,
}

enum MailWay {
    Smtp(Box<AsyncSmtpTransport<Tokio1Executor>>),
    Command(String, Vec<String>),
}

/// What a project may still send.
#[derive(Clone, Copy, Debug)]
struct Allowance {
    mails: f64,
    at: Duration,
}

impl std::fmt::Debug for Mailer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mailer").field("from", &self.from).finish_non_exhaustive()
    }
}

impl Mailer {
    /// Mail by an SMTP server, from this address unless a subscriber names another, so many a minute for each project, each within a time.
    ///
    /// # Errors
    /// What of the settings cannot be used.
    pub fn by_smtp(server: SmtpServer, from: &str, per_minute: u32, timeout: Duration) -> Result<Self, String> {
        let SmtpServer { host, port, tls, login: (name, password), authorities } = server;
        let parameters = || {
            let mut parameters = TlsParameters::builder(host.clone());
            if let Some(pem) = &authorities {
                let authority = Certificate::from_pem(pem).map_err(|error| error.to_string())?;
                parameters = parameters.add_root_certificate(authority);
            }
            parameters.build_rustls().map_err(|error| error.to_string())
        };
        let tls = match tls {
            SmtpTls::Implicit => Tls::Wrapper(parameters()?),
            SmtpTls::StartTls => Tls::Required(parameters()?),
            SmtpTls::Off => Tls::None,
        };
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&host).port(port).tls(tls);
        transport = transport.timeout(Some(timeout));
        if !name.is_empty() {
            transport = transport.credentials(Credentials::new(name, password));
        }
        Self::new(MailWay::Smtp(Box::new(transport.build())), from, per_minute, timeout)
    }

    /// The same by a command line: words with blanks between them; it gets the mail on its standard input.
    ///
    /// # Errors
    /// What of the settings cannot be used.
    pub fn by_command(command: &str, from: &str, per_minute: u32, timeout: Duration) -> Result<Self, String> {
        let mut words = command.split_whitespace().map(str::to_owned);
        let program = words.next().ok_or("it is empty")?;
        Self::new(MailWay::Command(program, words.collect()), from, per_minute, timeout)
    }

    fn new(way: MailWay, from: &str, per_minute: u32, timeout: Duration) -> Result<Self, String> {
        let from = one_line("it", from)?;
        let from = from.parse().map_err(|_| format!("`{from}` is no mail address"))?;
        Ok(Self { way, from, per_minute: per_minute.max(1), timeout, allowances: Mutex::default() })
    }

    /// Takes one mail from a project's allowance.
    ///
    /// # Errors
    /// How long to wait when none is left.
    pub(super) fn admit(&self, project: ProjectId, now: Duration) -> Result<(), Duration> {
        let most = f64::from(self.per_minute);
        let refilled = |allowance: &Allowance| {
            let since = now.saturating_sub(allowance.at).as_secs_f64();
            (allowance.mails + since * most / 60.0).min(most)
        };
        let mut allowances = self.allowances.lock();
        if allowances.len() >= PROJECTS_MAX && !allowances.contains_key(&project) {
            allowances.retain(|_, allowance| refilled(allowance) < most);
        }
        let allowance = allowances.entry(project).or_insert(Allowance { mails: most, at: now });
        *allowance = Allowance { mails: refilled(allowance), at: now };
        if allowance.mails < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - allowance.mails) * 60.0 / most));
        }
        allowance.mails -= 1.0;
        Ok(())
    }

    /// Sends a mail of this text; a subject given here counts instead of the letter's, and then the service is the sender.
    ///
    /// # Errors
    /// Why it was not taken.
    pub(super) async fn send(&self, letter: &Letter, subject: Option<&str>, text: String) -> Result<(), String> {
        let own = letter.from.as_ref().filter(|_| subject.is_none());
        let mut mail = Message::builder().from(own.unwrap_or(&self.from).clone());
        for recipient in &letter.to {
            mail = mail.to(recipient.clone());
        }
        let mail = mail.subject(subject.unwrap_or(&letter.subject));
        let part = SinglePart::builder().header(ContentType::TEXT_PLAIN).body(text);
        let mail = mail.singlepart(part).map_err(|error| error.to_string())?;
        let sent = tokio::time::timeout(self.timeout, self.hand_over(mail)).await;
        sent.unwrap_or_else(|_| Err(format!("the mail was not taken within {} s", self.timeout.as_secs_f32())))
    }

    async fn hand_over(&self, mail: Message) -> Result<(), String> {
        match &self.way {
            MailWay::Smtp(transport) => transport.send(mail).await.map(drop).map_err(|error| error.to_string()),
            MailWay::Command(program, arguments) => pipe(program, arguments, &mail.formatted()).await,
        }
    }
}

async fn pipe(program: &str, arguments: &[String], mail: &[u8]) -> Result<(), String> {
    let told = |error: std::io::Error| format!("{program}: {error}");
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn().map_err(told)?;
    if let Some(mut input) = child.stdin.take() {
        // Who does not read it all says so by how he ends.
        let _ = input.write_all(mail).await;
    }
    let ended = child.wait().await.map_err(told)?;
    if ended.success() { Ok(()) } else { Err(format!("{program} ended with {ended}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(letter: &Letter) -> Vec<String> {
        letter.to.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_uris_own_subject_wins_over_the_option() {
        let plain = letter("a@b.example", Some("Me <me@c.example>"), Some("told")).unwrap();
        assert_eq!((addresses(&plain), plain.subject.as_str()), (vec!["a@b.example".to_owned()], "told"));
        assert_eq!(plain.from.unwrap().to_string(), "Me <me@c.example>");
        let own = letter("a@b.example,c%40d.example?x=1&Subject=a%20b%26c", None, Some("told")).unwrap();
        assert_eq!(own.subject, "a b&c");
        assert_eq!(addresses(&own), ["a@b.example", "c@d.example"]);
        assert!(own.from.is_none() && letter("fake@123.com", Some(""), None).is_ok());
    }

    #[test]
    fn nothing_that_is_given_ends_a_line() {
        for (uri, from, subject, told) in [
            ("a@b\r\nBcc: x@y", None, None, "The subscriber must be one line."),
            ("a@b%0d%0aBcc:%20x@y", None, None, "The subscriber must be one line."),
            ("a@b?subject=x%0ABcc:%20x@y", None, None, "The subject must be one line."),
            ("a@b", None, Some("x\nBcc: x@y"), "The subject must be one line."),
            ("a@b", Some("x@y\r"), None, "from must be one line."),
            ("a@b", Some("nobody"), None, "from: `nobody` is no mail address."),
            ("nobody", None, None, "The subscriber `nobody` is no mail address."),
            ("%ff@b", None, None, "The subscriber has characters that are no text."),
        ] {
            assert_eq!(letter(uri, from, subject).err().as_deref(), Some(told), "{uri}");
        }
        assert!(letter(&["a@b.example"; 11].join(","), None, None).is_err());
        assert!(letter("", None, None).is_err());
        assert!(letter("a@b", None, Some(&"x".repeat(1_001))).is_err());
    }

    #[test]
    fn a_project_has_its_own_allowance_which_fills_again() {
        let mailer = Mailer::by_command("true", "a@b.example", 2, Duration::from_secs(1)).unwrap();
        let (one, other) = (ProjectId(1), ProjectId(2));
        let at = Duration::from_secs;
        assert_eq!((mailer.admit(one, at(0)), mailer.admit(one, at(0))), (Ok(()), Ok(())));
        assert_eq!((mailer.admit(one, at(0)), mailer.admit(other, at(0))), (Err(at(30)), Ok(())));
        assert_eq!((mailer.admit(one, at(10)), mailer.admit(one, at(30))), (Err(at(20)), Ok(())));
    }

    #[tokio::test]
    async fn a_command_gets_the_whole_mail_and_says_by_its_end_whether_it_took_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mail");
        let command = format!("tee {}", file.display());
        let mailer = Mailer::by_command(&command, "Service <s@b.example>", 9, Duration::from_secs(30)).unwrap();
        let to = letter("a@b.example", Some("me@c.example"), Some("grüß")).unwrap();
        mailer.send(&to, None, "{\"a\": 1}".to_owned()).await.unwrap();
        let mail = std::fs::read_to_string(&file).unwrap();
        for line in
            ["From: me@c.example", "To: a@b.example", "Subject: =?utf-8?b?", "Content-Type: text/plain", "{\"a\": 1}"]
        {
            assert!(mail.contains(line), "{line} is missing in {mail}");
        }
        mailer.send(&to, Some("Confirm"), "x".to_owned()).await.unwrap();
        let mail = std::fs::read_to_string(&file).unwrap();
        assert!(mail.contains("From: Service <s@b.example>") && mail.contains("Subject: Confirm"), "{mail}");
        let refusing = Mailer::by_command("false", "s@b.example", 9, Duration::from_secs(30)).unwrap();
        assert!(refusing.send(&to, None, String::new()).await.unwrap_err().contains("ended with"));
        let missing = Mailer::by_command("/nowhere/at-all", "s@b.example", 9, Duration::from_secs(30)).unwrap();
        assert!(missing.send(&to, None, String::new()).await.unwrap_err().contains("/nowhere/at-all"));
        let slow = Mailer::by_command("sleep 60", "s@b.example", 9, Duration::from_millis(20)).unwrap();
        assert!(slow.send(&to, None, String::new()).await.unwrap_err().contains("not taken within"));
        assert!(Mailer::by_command(" ", "s@b.example", 9, Duration::ZERO).is_err());
        assert!(Mailer::by_command("true", "nobody", 9, Duration::ZERO).is_err());
    }
}
