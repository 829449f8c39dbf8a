"""The built-in detectors, each one value that fills the protocol `Detector`; named in `plugins`."""
