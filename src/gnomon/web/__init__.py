"""The page that measures a phone, and the server that hands it out and takes its measurements."""
