package aibridge

// RootPath is where a host mounts the gateway: the providers' paths are below it.
const RootPath = "/api/v2/aibridged"
