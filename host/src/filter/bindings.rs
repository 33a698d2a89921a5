//! What `wit/` generates. Conversions and host functions are in `host`.

wasmtime::component::bindgen!({
    path: "../wit",
    world: "filter",
    imports: {
        "sluicegate:filter/logging.log": async | trappable,
        "sluicegate:filter/logs.[method]batch.column": async | trappable,
        default: trappable,
    },
    exports: { default: async },
    with: { "sluicegate:filter/logs.batch": super::host::LentBatch },
});
