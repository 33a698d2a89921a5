//! `exporters`: the destinations.

use std::path::PathBuf;

use super::component::Components;
use super::diagnostic::{Diagnostic, Span, Spanned};
use super::node::Node;
use super::read::{Fields, Keys, Reader};
use super::{DebugExporter, Exporter, FileExporter, Verbosity};

const TYPES: Keys = Keys {
    of: "`exporters`",
    known: &["otlp_grpc", "otlp", "otlp_http", "otlphttp", "file", "debug"],
    foreign: &[("logging", "the Collector's `logging` exporter is now called `debug`", "write `debug`")],
};

const FILE: Keys = Keys { of: "a `file` exporter", known: &["path"], foreign: &[] };
const DEBUG: Keys = Keys { of: "a `debug` exporter", known: &["verbosity"], foreign: &[] };

/// The Collector's default is basic, too.
const VERBOSITY: &[(&str, Verbosity)] =
    &[("basic", Verbosity::Basic), ("normal", Verbosity::Normal), ("detailed", Verbosity::Detailed)];

impl Reader {
    pub(super) fn exporters(&mut self, config: &Fields<'_>) -> Components<Exporter> {
        let exporters = self.components(config, "exporters", &TYPES, |reader, of, name, node| match of {
            "file" => reader.file_exporter(node, name).map(Exporter::File),
            "debug" => reader.debug_exporter(node, name).map(Exporter::Debug),
            "otlp_http" | "otlphttp" => reader.otlp_http_exporter(node, name).map(Exporter::Otlp),
            _ => reader.otlp_grpc_exporter(node, name).map(Exporter::Otlp),
        });
        self.same_file(&exporters);
        exporters
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

    /// Refuses two exporters for one file: each would cut the other's lines apart.
    fn same_file(&mut self, exporters: &Components<Exporter>) {
        let mut files: Vec<(&str, &Spanned<PathBuf>)> = Vec::new();
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
