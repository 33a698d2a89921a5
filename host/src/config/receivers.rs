//! `receivers`: where requests come in.

use super::component::Components;
use super::diagnostic::{Span, Spanned};
use super::endpoint::Address;
use super::node::Node;
use super::read::{Fields, Foreign, Keys, Reader};
use super::{GrpcListener, Listener, MIB, Receiver, ServerKeepalive};

const TYPES: Keys = Keys { of: "`receivers`", known: &["otlp"], foreign: &[] };
const OTLP: Keys = Keys { of: "an `otlp` receiver", known: &["protocols"], foreign: &[] };
const PROTOCOLS: Keys = Keys { of: "`protocols`", known: &["grpc"], foreign: &[HTTP] };
const GRPC: Keys = Keys {
    of: "`grpc`",
    known: &["endpoint", "max_recv_msg_size_mib"],
    foreign: &[("tls", "TLS is not supported yet", "remove `tls`, and listen on loopback")],
};

const HTTP: Foreign = (
    "http",
    "OTLP/HTTP is not supported yet",
    "remove `http`: senders use OTLP/gRPC, with OTEL_EXPORTER_OTLP_PROTOCOL=grpc",
);

/// OTLP/gRPC's own port. As in the Collector it listens on loopback: a listener for the whole network should be
/// somebody's decision.
const PORT: u16 = 4317;

/// Senders' batches are below 4 MiB, but what a Collector merges and sends on can be much larger.
const MAX_RECV_MSG_SIZE_MIB: u32 = 64;

/// Protobuf itself ends at 2 GiB.
const LARGEST_MSG_MIB: u32 = 2047;

impl Reader {
    pub(super) fn receivers(&mut self, config: &Fields<'_>) -> Components<Receiver> {
        self.components(config, "receivers", &TYPES, |reader, _, name, node| reader.otlp_receiver(node, name))
    }

    fn otlp_receiver(&mut self, node: &Node, name: Span) -> Option<Receiver> {
        let otlp = self.fields(node, name, &OTLP)?;
        let protocols = self.section(&otlp, "protocols", &PROTOCOLS)?;
        if !protocols.has("grpc") {
            if !protocols.refused {
                let error = self.error(protocols.span, "a receiver needs a protocol");
                let help = "write `protocols: { grpc: {} }` for OTLP/gRPC with its defaults";
                self.found.push(error.help(help));
            }
            return None;
        }
        let grpc = self.section(&protocols, "grpc", &GRPC)?;
        let default = Spanned::new(Address::loopback(PORT), grpc.span);
        let endpoint = self.field(&grpc, "endpoint", default, Self::listen);
        let why = "protobuf messages end at 2 GiB";
        let size = self.field(&grpc, "max_recv_msg_size_mib", MAX_RECV_MSG_SIZE_MIB, |r, node| {
            r.integer(node, 1..=LARGEST_MSG_MIB, why)
        });
        let listener = Listener { endpoint: endpoint?, tls: None, auth: None, include_metadata: false };
        let keepalive = ServerKeepalive::default();
        let grpc =
            GrpcListener { listener, max_recv_msg_size: size? as usize * MIB, max_concurrent_streams: 1000, keepalive };
        Some(Receiver { grpc: Some(grpc), http: None })
    }
}
