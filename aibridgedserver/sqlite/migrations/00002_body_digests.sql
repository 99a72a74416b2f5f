-- The size and the SHA-256 of an interception's two bodies: the request as the client sent it, and what the upstream
-- answered. They are NULL if the gateway did not send them, or if there was no answer.

-- +goose Up
ALTER TABLE interceptions ADD COLUMN request_bytes INTEGER;
ALTER TABLE interceptions ADD COLUMN request_sha256 BLOB;
ALTER TABLE interception_ends ADD COLUMN response_bytes INTEGER;
ALTER TABLE interception_ends ADD COLUMN response_sha256 BLOB;
