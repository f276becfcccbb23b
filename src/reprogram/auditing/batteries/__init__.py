"""The batteries of audits, one TOML file each; `_attacks.toml` says how each rung is attacked."""
