package dbpubsub

// ProvidersChanged is the event that a host publishes after the set of providers has changed. Its name is part of the
// documented API, since hosts publish on the channel by its name. The messages are empty: a
// subscriber reads the providers again.
const ProvidersChanged = "ai_providers_changed"
