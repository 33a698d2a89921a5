//! What `wit/` generates. The interface `logs` is written by hand, and the functions of the others are in `host`.

wasmtime::component::bindgen!({
    path: "../wit",
    world: "filter",
    imports: {
        "sluicegate:filter/logging.log": async | trappable,
        default: trappable,
    },
    exports: { default: async },
    with: { "sluicegate:filter/logs": self::logs },
});

#[allow(unreachable_pub, reason = "what is generated re-exports it")]
pub mod logs;
