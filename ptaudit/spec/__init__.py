"""What is audited: YAML to a validated, frozen spec. Nothing in this room imports torch."""
