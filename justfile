# Say `just` to see what there is. CI runs scripts/test; these are the same steps by name.

_default:
    @just --list --unsorted

# Format, lints, docs, licences: what can be said without running anything
check:
    cargo fmt --check
    cargo clippy --all-targets --locked -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked
    if command -v cargo-deny >/dev/null; then cargo deny --locked check; fi
    if command -v shellcheck >/dev/null; then shellcheck -x scripts/* .ci/run; fi

# The tests that need nothing but cargo
test *ARGS:
    cargo test --locked {{ ARGS }}

# Everything, with a real Kafka, Prometheus and Helm, as CI does it
test-all:
    scripts/test

# toolwarden at work on a made-up fleet, no Kafka needed
demo *ARGS:
    scripts/demo {{ ARGS }}

# Measure on this machine; `just bench micro` for the parts
bench *ARGS:
    scripts/bench {{ ARGS }}

# Write golden files anew, then look at the difference
bless:
    TOOLWARDEN_BLESS=1 cargo test --locked
    git diff --stat
