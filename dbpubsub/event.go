package dbpubsub

// ProvidersChanged is the event that a host publishes after the set of providers has changed. The messages are empty: a
// subscriber reads the providers again.
const ProvidersChanged = "aibridged_providers_changed"
