//! The fuzz target of the configuration: any text is refused in one line, or is a configuration that keeps its rules.

use super::{Config, layers, rules};
use ::config::{Config as Layers, File, FileFormat};

/// Any bytes as the text of a configuration file.
pub(crate) fn text(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let told = match read(text) {
        Ok(config) if is_numeric(&config) => rules::check(&config).map_err(|error| error.0),
        Ok(_) => Ok(()),
        Err(why) => Err(why),
    };
    if let Err(why) = told {
        assert!(!why.is_empty() && !why.contains('\n'), "not one line: {why:?}");
    }
}

fn read(text: &str) -> Result<Config, String> {
    let file = layers::file("a file", text).map_err(|error| error.0)?;
    let defaults = File::from_str(super::DEFAULTS, FileFormat::Toml);
    let merged = Layers::builder().add_source(defaults).add_source(file).build();
    // How a wrong value is told is the crate's affair; that it is told is ours.
    merged.and_then(Layers::try_deserialize).map_err(|_| "a value of a wrong type".to_owned())
}

/// Whether no listener names a host: looking one up would go out to the network.
fn is_numeric(config: &Config) -> bool {
    let listen = &config.listen;
    let numeric = |text: &String| text == "off" || text.parse::<std::net::SocketAddr>().is_ok();
    [&listen.ams, &listen.ams_tls, &listen.zaqar, &listen.zaqar_websocket, &listen.ops].into_iter().all(numeric)
}
