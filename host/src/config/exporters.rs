//! `exporters`: the destinations.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::component::Components;
use super::diagnostic::{Diagnostic, Span, Spanned};
use super::node::Node;
use super::read::{Fields, Foreign, Keys, Read, Reader};
use super::{Compression, DebugExporter, Destination, Exporter, FileExporter, OtlpExporter, Protocol, Verbosity};
use crate::compression::Encoding;

const TYPES: Keys = Keys {
    of: "`exporters`",
    known: &["otlp_grpc", "otlp", "file", "debug"],
    foreign: &[
        ("otlp_http", NO_HTTP.0, NO_HTTP.1),
        ("otlphttp", NO_HTTP.0, NO_HTTP.1),
        ("logging", "the Collector's `logging` exporter is now called `debug`", "write `debug`"),
    ],
};

const NO_HTTP: (&str, &str) = ("OTLP/HTTP is not supported yet", "send with `otlp_grpc`, to the Collector's port 4317");

const OTLP_GRPC: Keys = Keys {
    of: "an `otlp_grpc` exporter",
    known: &["endpoint", "compression", "timeout", "headers", "tls"],
    foreign: &[
        (
            "sending_queue",
            "Sluicegate has no queue: a request is answered once it is delivered",
            "remove `sending_queue`, and leave it to the Collector behind Sluicegate",
        ),
        (
            "retry_on_failure",
            "Sluicegate doesn't send again: the sender is told of a failure, and does",
            "remove `retry_on_failure`",
        ),
    ],
};

const TLS: Keys = Keys {
    of: "`tls`",
    known: &["insecure"],
    foreign: &[
        no_tls("ca_file"),
        no_tls("ca_pem"),
        no_tls("cert_file"),
        no_tls("cert_pem"),
        no_tls("insecure_skip_verify"),
        no_tls("key_file"),
        no_tls("key_pem"),
        no_tls("server_name_override"),
    ],
};

const fn no_tls(key: &'static str) -> Foreign {
    (key, "TLS is not supported yet", "write `tls: { insecure: true }`")
}

const FILE: Keys = Keys { of: "a `file` exporter", known: &["path"], foreign: &[] };
const DEBUG: Keys = Keys { of: "a `debug` exporter", known: &["verbosity"], foreign: &[] };

/// The Collector's default is gzip, too.
const COMPRESSION: &[(&str, Compression)] =
    &[("none", method(None)), ("gzip", method(Some(Encoding::Gzip))), ("zstd", method(Some(Encoding::Zstd)))];

const fn method(encoding: Option<Encoding>) -> Compression {
    Compression { encoding, level: None }
}

/// The Collector's default is basic, too.
const VERBOSITY: &[(&str, Verbosity)] =
    &[("basic", Verbosity::Basic), ("normal", Verbosity::Normal), ("detailed", Verbosity::Detailed)];

impl Reader {
    pub(super) fn exporters(&mut self, config: &Fields<'_>) -> Components<Exporter> {
        let exporters = self.components(config, "exporters", &TYPES, |reader, of, name, node| match of {
            "file" => reader.file_exporter(node, name).map(Exporter::File),
            "debug" => reader.debug_exporter(node, name).map(Exporter::Debug),
            _ => reader.otlp_grpc_exporter(node, name).map(Exporter::Otlp),
        });
        self.same_file(&exporters);
        exporters
    }

    fn otlp_grpc_exporter(&mut self, node: &Node, name: Span) -> Option<OtlpExporter> {
        let otlp = self.fields(node, name, &OTLP_GRPC)?;
        let tls = self.section(&otlp, "tls", &TLS);
        // An error in `tls` is reported once; then it says nothing about the endpoint.
        let insecure = match &tls {
            Some(tls) => self.field(tls, "insecure", tls.refused, Self::boolean).unwrap_or(true),
            None => true,
        };
        let what = "where to send, such as `http://collector:4317`";
        let endpoint = self.required(&otlp, "endpoint", what, |reader, node| reader.destination(node, insecure));
        let compression = self
            .field(&otlp, "compression", method(Some(Encoding::Gzip)), |reader, node| reader.choice(node, COMPRESSION));
        let timeout = self.field(&otlp, "timeout", OtlpExporter::TIMEOUT, Self::duration);
        let headers = self.headers(&otlp);
        Some(OtlpExporter {
            compression: compression?,
            timeout: timeout.map(|timeout| (!timeout.is_zero()).then_some(timeout))?,
            headers: headers?,
            ..OtlpExporter::new(Protocol::Grpc, endpoint?)
        })
    }

    fn file_exporter(&mut self, node: &Node, name: Span) -> Option<FileExporter> {
        let file = self.fields(node, name, &FILE)?;
        let what = "the file that requests are appended to, relative to this one";
        let path = self.required(&file, "path", what, Self::path);
        Some(FileExporter { path: path? })
    }

    fn debug_exporter(&mut self, node: &Node, name: Span) -> Option<DebugExporter> {
        let debug = self.fields(node, name, &DEBUG)?;
        let verbosity =
            self.field(&debug, "verbosity", Verbosity::Basic, |reader, node| reader.choice(node, VERBOSITY));
        Some(DebugExporter { verbosity: verbosity? })
    }

    /// Where to send.
    fn destination(&self, node: &Node, insecure: bool) -> Read<Spanned<Destination>> {
        let text = self.string(node)?;
        let uri = Destination::parse(text, insecure).map_err(|error| {
            let message = format!("`{text}` is no destination: {error}");
            let help = "write `http://HOST:PORT`, or `HOST:PORT` with `tls: { insecure: true }`";
            self.error(node.span, message).help(help)
        });
        Ok(Spanned::new(uri?, node.span))
    }

    /// Headers as gRPC metadata. Their values may be secrets, so no message shows one, and carets go under their names.
    fn headers(&mut self, otlp: &Fields<'_>) -> Option<HeaderMap> {
        let mut headers = HeaderMap::new();
        let Some(node) = otlp.get("headers") else {
            return Some(headers);
        };
        for (key, value) in self.entries(node)? {
            match self.value(value, |reader, value| reader.header(key, value)) {
                Some((name, _)) if headers.contains_key(&name) => {
                    let help = "upper and lower case are the same in a header's name";
                    let error = self.error(key.span, format!("duplicate header `{name}`"));
                    self.found.push(error.help(help));
                }
                Some((name, value)) => {
                    headers.insert(name, value);
                }
                None => {}
            }
        }
        Some(headers)
    }

    fn header(&self, key: &Spanned<String>, value: &Node) -> Read<(HeaderName, HeaderValue)> {
        let Ok(name) = HeaderName::from_bytes(key.as_bytes()) else {
            let message = format!("`{}` is no header's name", key.value);
            return Err(self.error(key.span, message));
        };
        let reserved = ["content-type", "te", "user-agent"];
        if name.as_str().starts_with("grpc-") || reserved.contains(&name.as_str()) {
            return Err(self.error(key.span, format!("the header `{name}` is gRPC's own")));
        }
        if name.as_str().ends_with("-bin") {
            let error = self.error(key.span, "binary headers are not supported yet");
            return Err(error.note("gRPC takes a name that ends in `-bin` for a binary one"));
        }
        let text = self.string(value).map_err(|error| error.only_at(key.span))?;
        let mut text = HeaderValue::from_str(text)
            .map_err(|_| self.error(key.span, "a header's value may have only visible ASCII characters and spaces"))?;
        text.set_sensitive(true);
        Ok((name, text))
    }

    /// Refuses two exporters for one file: each would cut the other's lines apart.
    fn same_file(&mut self, exporters: &Components<Exporter>) {
        let mut files: Vec<(&str, &Spanned<std::path::PathBuf>)> = Vec::new();
        for (name, exporter) in exporters {
            let Some(Exporter::File(file)) = &exporter.value else {
                continue;
            };
            let other = files.iter().find(|(_, path)| path.value == file.path.value);
            if let Some((other, _)) = other {
                let message = format!("`{other}` writes this file already");
                let error: Diagnostic = self.error(file.path.span, message);
                self.found.push(error.help(format!("use `{other}` in both places")));
            }
            files.push((name, &file.path));
        }
    }
}
