package dbpubsub

// ProvidersChanged is the event by which a host says that the set of providers is another now. Its messages mean
// nothing: whoever gets one looks again.
const ProvidersChanged = "aibridged_providers_changed"
