//! Seeded traffic: agents that work, and planted anomalies with the truth about them. Pure; no IO.
