-- The model that answered a request which named none, and the id of the background response that an interception began.
-- Records of what the response did are kept under that id as if it were an interception's: they come when the response
-- is read, perhaps from another gateway, and perhaps before the end that says which interception they belong to.

-- +goose Up
ALTER TABLE interceptions ADD COLUMN answer_model TEXT NOT NULL DEFAULT '';
ALTER TABLE interceptions ADD COLUMN background_id BLOB;
