BEGIN TRANSACTION;
CREATE TABLE api_keys (
    id            TEXT    NOT NULL PRIMARY KEY,
    user_id       TEXT    NOT NULL REFERENCES users (id),
    secret_sha256 BLOB    NOT NULL,
    created_at    INTEGER NOT NULL,
    expires_at    INTEGER,
    revoked_at    INTEGER
) STRICT, WITHOUT ROWID;
INSERT INTO "api_keys" VALUES('OSQ4DP5YQV','e7a77c68-f278-4c8d-ba1c-f663583ba057',X'602AE533DD9345ADA6EB46F5381767882C0D73C463F848EA9306A06468EB669C',1795639456520760,NULL,NULL);
INSERT INTO "api_keys" VALUES('RGAN4DNQFO','08af3d5d-0d39-4468-be7e-6a2ab36c398d',X'727CD90D7E275CC2D533FECE6EAC336469BBD0624CE9BD281ADC3CF80B330996',1795639456534550,1798231456534550,NULL);
CREATE TABLE goose_db_version (
		id INTEGER PRIMARY KEY AUTOINCREMENT,
		version_id INTEGER NOT NULL,
		is_applied INTEGER NOT NULL,
		tstamp TIMESTAMP DEFAULT (datetime('now'))
	);
INSERT INTO "goose_db_version" VALUES(1,0,1,'2026-11-25 20:44:15');
INSERT INTO "goose_db_version" VALUES(2,1,1,'2026-11-25 20:44:15');
INSERT INTO "goose_db_version" VALUES(3,2,1,'2026-11-25 20:44:15');
CREATE TABLE interception_ends (
    interception_id TEXT    NOT NULL PRIMARY KEY,
    ended_at        INTEGER NOT NULL,
    credential_hint TEXT    NOT NULL,
    error_type      TEXT,
    error_message   TEXT
, response_bytes INTEGER, response_sha256 BLOB) STRICT, WITHOUT ROWID;
INSERT INTO "interception_ends" VALUES('01a21473-b322-79ac-8744-8308fbe0e42f',1795639456548922,'no-k...ount',NULL,NULL,4063,X'0126514F69E4922CE1C165774EC5ED9A6382D014A42FDDCB7E8E23F606CA0A71');
INSERT INTO "interception_ends" VALUES('01a21473-b32d-7478-85b9-395ad64fcbed',1795639456558666,'no-k...ount',NULL,NULL,5171,X'57D81C7A9AE283E04CAA2803236AF46DC1660CD1E348FD8877ADC9A0912179DF');
INSERT INTO "interception_ends" VALUES('01a21473-b337-7bea-9c3a-62ee6f70daf3',1795639456569158,'no-k...ount',NULL,NULL,10773,X'A1196C79434480EB532A587E97B66749984E7A85FFB6D811A8A06C3149015750');
INSERT INTO "interception_ends" VALUES('01a21473-b341-78c8-88d0-c5f58f8e0578',1795639456578382,'no-k...ount',NULL,NULL,841,X'D9541164657861A11C4FD9EA545FEC194E510AA506295C4E60B17343C19CA64C');
INSERT INTO "interception_ends" VALUES('01a21473-b34b-74d6-8429-91432aff83eb',1795639456588024,'no-k...ount',NULL,NULL,928,X'9EDCB4A733115D83B75E3F59C6C9B9D3EC5EEEC77C4C33E265B2BFCA69280077');
INSERT INTO "interception_ends" VALUES('01a21473-b354-71a6-a95f-58632dc811a2',1795639456597078,'no-k...ount',NULL,NULL,1563,X'E85498075E5835472AA874B8FCBE9571DFC147000580ADAF73879F538C072C33');
INSERT INTO "interception_ends" VALUES('01a21473-b360-72d5-9617-4c3b6c661218',1795639456609050,'no-k...ount','rate_limited','too fast',118,X'37B7D297B961F698496FCB91E4C2F3EE047471BD22CEFB83CE6917748A76CA92');
INSERT INTO "interception_ends" VALUES('01a21473-b36a-70f7-981e-be0f5ad569d9',1795639456619018,'no-k...ount','truncated','upstream connection failed',738,X'4D164A36D40083D2D5C20BE6E79D9CEBFD5CA5E4FE6CF6274B93D961D21EFA74');
INSERT INTO "interception_ends" VALUES('01a21473-b374-7019-b5e7-3920c2ab0ccf',1795639456629221,'no-k...ount','overloaded','too busy',1645,X'4CAB7F763ED881A7D8A4A609401EA0F49A611863C661760FF782266FE4770591');
INSERT INTO "interception_ends" VALUES('01a21473-b37d-7b17-8c98-68a01e669881',1795639457137856,'no-k...ount','client_closed','the client left before the end of the answer',584,X'5C8D9270C4E87E0969671B3EA63F56DB07BDD6BC517CB0904591FA1D8636AEC5');
INSERT INTO "interception_ends" VALUES('01a21473-b579-7345-a1fd-db4daa13d5f9',1795639457145916,'no-k...ount',NULL,NULL,457,X'BE2C99462E4FEC77E12CDD320F434F22D24E413EF164BA4F89A355042480A85A');
INSERT INTO "interception_ends" VALUES('01a21473-b608-7351-9b49-2b18889b8c44',1795639457289208,'no-k...ount',NULL,NULL,663,X'8D4B74C359DBFDCF36B4D585591308B1A1D46639871FB4E99ADA37CA38349251');
CREATE TABLE interceptions (
    id                             TEXT    NOT NULL PRIMARY KEY,
    initiator_id                   TEXT    NOT NULL,
    api_key_id                     TEXT    NOT NULL,
    provider                       TEXT    NOT NULL,
    provider_name                  TEXT    NOT NULL,
    model                          TEXT    NOT NULL,
    client                         TEXT    NOT NULL,
    client_session_id              TEXT,
    user_agent                     TEXT    NOT NULL,
    correlating_tool_call_id       TEXT,
    credential_kind                TEXT    NOT NULL,
    credential_hint                TEXT    NOT NULL,
    agent_firewall_session_id      TEXT,
    agent_firewall_sequence_number INTEGER,
    metadata                       TEXT    NOT NULL,
    started_at                     INTEGER NOT NULL
, request_bytes INTEGER, request_sha256 BLOB) STRICT;
INSERT INTO "interceptions" VALUES('01a21473-b322-79ac-8744-8308fbe0e42f','e7a77c68-f278-4c8d-ba1c-f663583ba057','OSQ4DP5YQV','anthropic','anthropic','claude-x','Claude Code',NULL,'claude-cli/2.1.3 (external, cli)',NULL,'centralized','no-k...ount',NULL,NULL,'{"Username":"ada"}',1795639456546583,394,X'DCE2A0E05C94742E9C012B81230732FE474A176B6D65F34D796C56F74F35E5AD');
INSERT INTO "interceptions" VALUES('01a21473-b32d-7478-85b9-395ad64fcbed','08af3d5d-0d39-4468-be7e-6a2ab36c398d','RGAN4DNQFO','openai','openai','gpt-x','Unknown',NULL,'curl/7.88.1',NULL,'centralized','no-k...ount',NULL,NULL,'{"Username":"bob"}',1795639456557230,374,X'6B7A11C5EC2DA56B153ADA991F4E9C92A36FD04AE05A2BC9B61083F342C81190');
INSERT INTO "interceptions" VALUES('01a21473-b337-7bea-9c3a-62ee6f70daf3','e7a77c68-f278-4c8d-ba1c-f663583ba057','OSQ4DP5YQV','openai','openai','gpt-y','Codex',NULL,'codex_cli_rs/0.5',NULL,'centralized','no-k...ount',NULL,NULL,'{"Username":"ada"}',1795639456567720,389,X'2F54E8436CEEBFD93497E4DA2BF069660ACE5EB47D98D69360C3BBADE6D242F0');
INSERT INTO "interceptions" VALUES('01a21473-b341-78c8-88d0-c5f58f8e0578','e7a77c68-f278-4c8d-ba1c-f663583ba057','OSQ4DP5YQV','anthropic','anthropic','claude-x','Claude Code',NULL,'claude-cli/2.1.3 (external, cli)',NULL,'centralized','no-k...ount',NULL,NULL,'{"Username":"ada"}',1795639456577502,395,X'AC6D5F66437578BDF01F19BAA4449FA8F196F1FABFF94E12983826F4CDF760D2');
INSERT INTO "interceptions" VALUES('01a21473-b34b-74d6-8429-91432aff83eb','08af3d5d-0d39-4468-be7e-6a2ab36c398d','RGAN4DNQFO','openai','openai','gpt-x','Unknown',NULL,'curl/7.88.1',NULL,'centralized','no-k...ount',NULL,NULL,'{"Username":"bob"}',1795639456587272,375,X'44E2206ACC743DF41622986FB33E6A6B7ACD56BD8A9F23C4385A1CD21D66A4E2');
INSERT INTO "interceptions" VALUES('01a21473-b354-71a6-a95f-58632dc811a2','e7a77c68-f278-4c8d-ba1c-f663583ba057','OSQ4DP5YQV','openai','openai','gpt-y','Codex',NULL,'codex_cli_rs/0.5',NULL,'centralized','no-k...ount',NULL,NULL,'{"Username":"ada"}',1795639456596072,390,X'95F7574F58808FB384B68F792B7C9B25E979746DCFEA7E2AF93C23EEE4CD6083');
INSERT INTO "interceptions" VALUES('01a21473-b360-72d5-9617-4c3b6c661218','e7a77c68-f278-4c8d-ba1c-f663583ba057','OSQ4DP5YQV','anthropic','anthropic','claude-x','Unknown',NULL,'curl/7.88.1',NULL,'centralized','no-k...ount',NULL,NULL,'{"Username":"ada"}',1795639456608143,159,X'EE3CC8DA7B57CE962B7F247940AE21FDDF0E544EEA39590194427E3B6AED60E0');
INSERT INTO "interceptions" VALUES('01a21473-b36a-70f7-981e-be0f5ad569d9','e7a77c68-f278-4c8d-ba1c-f663583ba057','OSQ4DP5YQV','anthropic','anthropic','claude-x','Unknown',NULL,'curl/7.88.1',NULL,'centralized','no-k...ount',NULL,NULL,'{"Username":"ada"}',1795639456618028,170,X'3462AC58FD2F68334E573A8AA6E696B40B1892ED195CC22B388796D049D8AC19');
INSERT INTO "interceptions" VALUES('01a21473-b374-7019-b5e7-3920c2ab0ccf','08af3d5d-0d39-4468-be7e-6a2ab36c398d','RGAN4DNQFO','openai','openai','gpt-y','Unknown',NULL,'curl/7.88.1',NULL,'centralized','no-k...ount',NULL,NULL,'{"Username":"bob"}',1795639456627977,103,X'97ED8895D90EE029A1695E322EF49CAB4EEE28095C5BD4681C0104FEE56B45AC');
INSERT INTO "interceptions" VALUES('01a21473-b37d-7b17-8c98-68a01e669881','08af3d5d-0d39-4468-be7e-6a2ab36c398d','RGAN4DNQFO','anthropic','anthropic','claude-x','Unknown',NULL,'curl/7.88.1',NULL,'centralized','no-k...ount',NULL,NULL,'{"Username":"bob"}',1795639456637686,138,X'1524899A2560C22B8A52F103F240C80AE9332911CF54CC5276CEA3D87060F132');
INSERT INTO "interceptions" VALUES('01a21473-b579-7345-a1fd-db4daa13d5f9','08af3d5d-0d39-4468-be7e-6a2ab36c398d','RGAN4DNQFO','anthropic','anthropic','claude-x','Unknown',NULL,'curl/7.88.1','toolu_77','centralized','no-k...ount',NULL,NULL,'{"Username":"bob"}',1795639457145181,311,X'5576D183197447D17793D7F49043AE9439078C7CC0BB698F151E1CDCAB3EF8D1');
INSERT INTO "interceptions" VALUES('01a21473-b608-7351-9b49-2b18889b8c44','e7a77c68-f278-4c8d-ba1c-f663583ba057','OSQ4DP5YQV','openai','openai','gpt-x','Unknown',NULL,'curl/7.88.1',NULL,'centralized','no-k...ount',NULL,NULL,'{"Username":"ada"}',1795639457288171,3779,X'CA25D5FD28334166775BF085A3644ED82F7BB2FEC6BBE59868206E7EC8A6BCCC');
INSERT INTO "interceptions" VALUES('01a21473-b612-71e0-a56b-376954dc2518','e7a77c68-f278-4c8d-ba1c-f663583ba057','OSQ4DP5YQV','anthropic','anthropic','claude-open','Unknown',NULL,'curl/7.88.1',NULL,'centralized','no-k...ount',NULL,NULL,'{"Username":"ada"}',1795639457298087,142,X'C4AA2A51DC06E59857B9C618B53E1C5D7ABCF15686A4CBCBEDA3DBA652A83827');
CREATE TABLE mcp_access_tokens (
    user_id       TEXT NOT NULL REFERENCES users (id),
    mcp_server_id TEXT NOT NULL REFERENCES mcp_servers (id),
    access_token  TEXT NOT NULL,
    PRIMARY KEY (user_id, mcp_server_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE mcp_servers (
    id               TEXT    NOT NULL PRIMARY KEY,
    url              TEXT    NOT NULL,
    tool_allow_regex TEXT    NOT NULL DEFAULT '',
    tool_deny_regex  TEXT    NOT NULL DEFAULT '',
    enabled          INTEGER NOT NULL DEFAULT 1
) STRICT, WITHOUT ROWID;
CREATE TABLE model_thoughts (
    seq             INTEGER PRIMARY KEY,
    record_id       TEXT    NOT NULL UNIQUE,
    interception_id TEXT    NOT NULL,
    metadata        TEXT    NOT NULL,
    created_at      INTEGER NOT NULL
) STRICT;
INSERT INTO "model_thoughts" VALUES(1,'01a21473-b324-7e3c-885e-40f25f7ec107','01a21473-b322-79ac-8744-8308fbe0e42f','{"source":"thinking"}',1795639456548924);
INSERT INTO "model_thoughts" VALUES(2,'01a21473-b324-7e3f-a13d-52ec6b20ecd7','01a21473-b322-79ac-8744-8308fbe0e42f','{"source":"thinking"}',1795639456548924);
INSERT INTO "model_thoughts" VALUES(3,'01a21473-b32e-7a51-b35e-478fdbb49cc9','01a21473-b32d-7478-85b9-395ad64fcbed','{"source":"thinking"}',1795639456558668);
INSERT INTO "model_thoughts" VALUES(4,'01a21473-b339-728e-95c8-2e665ec07a37','01a21473-b337-7bea-9c3a-62ee6f70daf3','{"source":"reasoning_summary"}',1795639456569160);
INSERT INTO "model_thoughts" VALUES(5,'01a21473-b339-7290-a54a-d11ff3fa9356','01a21473-b337-7bea-9c3a-62ee6f70daf3','{"source":"reasoning_summary"}',1795639456569160);
INSERT INTO "model_thoughts" VALUES(6,'01a21473-b342-75fc-86b3-77812b85580f','01a21473-b341-78c8-88d0-c5f58f8e0578','{"source":"thinking"}',1795639456578383);
INSERT INTO "model_thoughts" VALUES(7,'01a21473-b342-75ff-8aff-a10bb3471acd','01a21473-b341-78c8-88d0-c5f58f8e0578','{"source":"thinking"}',1795639456578383);
INSERT INTO "model_thoughts" VALUES(8,'01a21473-b34c-708a-bc2b-81df2a4e3a4d','01a21473-b34b-74d6-8429-91432aff83eb','{"source":"thinking"}',1795639456588026);
INSERT INTO "model_thoughts" VALUES(9,'01a21473-b355-7157-91c8-eb3cf19266e6','01a21473-b354-71a6-a95f-58632dc811a2','{"source":"reasoning_summary"}',1795639456597080);
INSERT INTO "model_thoughts" VALUES(10,'01a21473-b355-715b-ad49-928ceb33c54a','01a21473-b354-71a6-a95f-58632dc811a2','{"source":"reasoning_summary"}',1795639456597080);
CREATE TABLE prompt_texts (
    seq    INTEGER PRIMARY KEY,
    prompt TEXT NOT NULL
) STRICT;
INSERT INTO "prompt_texts" VALUES(1,'What is here? [[think: A listing will tell.]] [[think: Or two.]] [[text: Let me look.]] [[tool: list_files {"path":"."}]] [[tool: list_files {"path":".."}]] [[usage: input=120 output=34 cache_read=1000 cache_write=200 thinking=9]]');
INSERT INTO "prompt_texts" VALUES(2,'What is here? [[think: A listing will tell.]] [[think: Or two.]] [[text: Let me look.]] [[tool: list_files {"path":"."}]] [[tool: list_files {"path":".."}]] [[usage: input=120 output=34 cache_read=1000 cache_write=200 thinking=9]]');
INSERT INTO "prompt_texts" VALUES(3,'What is here? [[think: A listing will tell.]] [[think: Or two.]] [[text: Let me look.]] [[tool: list_files {"path":"."}]] [[tool: list_files {"path":".."}]] [[usage: input=120 output=34 cache_read=1000 cache_write=200 thinking=9]]');
INSERT INTO "prompt_texts" VALUES(4,'What is here? [[think: A listing will tell.]] [[think: Or two.]] [[text: Let me look.]] [[tool: list_files {"path":"."}]] [[tool: list_files {"path":".."}]] [[usage: input=120 output=34 cache_read=1000 cache_write=200 thinking=9]]');
INSERT INTO "prompt_texts" VALUES(5,'What is here? [[think: A listing will tell.]] [[think: Or two.]] [[text: Let me look.]] [[tool: list_files {"path":"."}]] [[tool: list_files {"path":".."}]] [[usage: input=120 output=34 cache_read=1000 cache_write=200 thinking=9]]');
INSERT INTO "prompt_texts" VALUES(6,'What is here? [[think: A listing will tell.]] [[think: Or two.]] [[text: Let me look.]] [[tool: list_files {"path":"."}]] [[tool: list_files {"path":".."}]] [[usage: input=120 output=34 cache_read=1000 cache_write=200 thinking=9]]');
INSERT INTO "prompt_texts" VALUES(7,'too much [[error: 429 retry-after=2 type=rate_limit_error too fast]]');
INSERT INTO "prompt_texts" VALUES(8,'Grüße, 世界 <b>&amp; [[text: one two three four five six]] [[cut: after=4]]');
INSERT INTO "prompt_texts" VALUES(9,'overloaded [[error-event: overloaded_error after=3 too busy]]');
INSERT INTO "prompt_texts" VALUES(10,'left [[text: a b c d e f g h]] [[delay: 200ms]]');
INSERT INTO "prompt_texts" VALUES(11,'A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. A long prompt with many words. ');
INSERT INTO "prompt_texts" VALUES(12,'open [[text: a b c d]] [[silence: 100s after=2]]');
CREATE TABLE prompt_usages (
    seq             INTEGER PRIMARY KEY,
    record_id       TEXT    NOT NULL UNIQUE,
    interception_id TEXT    NOT NULL,
    msg_id          TEXT    NOT NULL,
    metadata        TEXT    NOT NULL,
    created_at      INTEGER NOT NULL
) STRICT;
INSERT INTO "prompt_usages" VALUES(1,'01a21473-b322-79dc-b320-1b0cf2b33304','01a21473-b322-79ac-8744-8308fbe0e42f','','{}',1795639456546583);
INSERT INTO "prompt_usages" VALUES(2,'01a21473-b32d-749c-a8c2-90b0ba662256','01a21473-b32d-7478-85b9-395ad64fcbed','','{}',1795639456557230);
INSERT INTO "prompt_usages" VALUES(3,'01a21473-b337-7c1f-8e7a-a23b13d9ff64','01a21473-b337-7bea-9c3a-62ee6f70daf3','','{}',1795639456567720);
INSERT INTO "prompt_usages" VALUES(4,'01a21473-b341-78f4-909d-a1e20c2fd4d7','01a21473-b341-78c8-88d0-c5f58f8e0578','','{}',1795639456577502);
INSERT INTO "prompt_usages" VALUES(5,'01a21473-b34b-74fa-a882-d29907c69c07','01a21473-b34b-74d6-8429-91432aff83eb','','{}',1795639456587272);
INSERT INTO "prompt_usages" VALUES(6,'01a21473-b354-71cc-a4ca-9d801a6b001d','01a21473-b354-71a6-a95f-58632dc811a2','','{}',1795639456596072);
INSERT INTO "prompt_usages" VALUES(7,'01a21473-b360-7308-a9d0-a6cb5a2f6e7e','01a21473-b360-72d5-9617-4c3b6c661218','','{}',1795639456608143);
INSERT INTO "prompt_usages" VALUES(8,'01a21473-b36a-712d-aee7-01ee73e06bb4','01a21473-b36a-70f7-981e-be0f5ad569d9','','{}',1795639456618028);
INSERT INTO "prompt_usages" VALUES(9,'01a21473-b374-703e-988a-6b8549e0aace','01a21473-b374-7019-b5e7-3920c2ab0ccf','','{}',1795639456627977);
INSERT INTO "prompt_usages" VALUES(10,'01a21473-b37d-7b40-82ea-ddbbad086850','01a21473-b37d-7b17-8c98-68a01e669881','','{}',1795639456637686);
INSERT INTO "prompt_usages" VALUES(11,'01a21473-b608-7392-9d4a-038c8032f0d7','01a21473-b608-7351-9b49-2b18889b8c44','','{}',1795639457288171);
INSERT INTO "prompt_usages" VALUES(12,'01a21473-b612-7207-93ba-ea25717eb3f0','01a21473-b612-71e0-a56b-376954dc2518','','{}',1795639457298087);
CREATE TABLE providers (
    name       TEXT    NOT NULL PRIMARY KEY,
    type       TEXT    NOT NULL,
    base_url   TEXT    NOT NULL,
    disabled   INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "providers" VALUES('anthropic','anthropic','http://127.0.0.1:4962',0,1795639455033007);
INSERT INTO "providers" VALUES('openai','openai','http://127.0.0.1:4962/v1',0,1795639455033007);
CREATE TABLE thought_texts (
    seq     INTEGER PRIMARY KEY,
    content TEXT NOT NULL
) STRICT;
INSERT INTO "thought_texts" VALUES(1,'A listing will tell.');
INSERT INTO "thought_texts" VALUES(2,'Or two.');
INSERT INTO "thought_texts" VALUES(3,'A listing will tell.
Or two.');
INSERT INTO "thought_texts" VALUES(4,'A listing will tell.');
INSERT INTO "thought_texts" VALUES(5,'Or two.');
INSERT INTO "thought_texts" VALUES(6,'A listing will tell.');
INSERT INTO "thought_texts" VALUES(7,'Or two.');
INSERT INTO "thought_texts" VALUES(8,'A listing will tell.
Or two.');
INSERT INTO "thought_texts" VALUES(9,'A listing will tell.');
INSERT INTO "thought_texts" VALUES(10,'Or two.');
CREATE TABLE token_usages (
    seq                      INTEGER PRIMARY KEY,
    record_id                TEXT    NOT NULL UNIQUE,
    interception_id          TEXT    NOT NULL,
    msg_id                   TEXT    NOT NULL,
    input_tokens             INTEGER NOT NULL,
    output_tokens            INTEGER NOT NULL,
    cache_read_input_tokens  INTEGER NOT NULL,
    cache_write_input_tokens INTEGER NOT NULL,
    metadata                 TEXT    NOT NULL,
    created_at               INTEGER NOT NULL
) STRICT;
INSERT INTO "token_usages" VALUES(1,'01a21473-b324-7e25-b325-8a34e6bcafcb','01a21473-b322-79ac-8744-8308fbe0e42f','msg_r1a21473ad2dfake000001000',120,34,1000,200,'{"cache_ephemeral_1h_input":0,"cache_ephemeral_5m_input":200,"model":"claude-x","output_thinking":9,"service_tier":"standard"}',1795639456548924);
INSERT INTO "token_usages" VALUES(2,'01a21473-b32e-7a37-a675-7bc2e0fb14e4','01a21473-b32d-7478-85b9-395ad64fcbed','chatcmpl-r1a21473ad2dfake000002000',120,34,1000,200,'{"completion_accepted_prediction":0,"completion_audio":0,"completion_reasoning":9,"completion_rejected_prediction":0,"model":"gpt-x","prompt_audio":0,"service_tier":"default"}',1795639456558668);
INSERT INTO "token_usages" VALUES(3,'01a21473-b339-7278-b154-003e76797f0d','01a21473-b337-7bea-9c3a-62ee6f70daf3','resp_r1a21473ad2dfake000003000',120,34,1000,200,'{"model":"gpt-y","output_reasoning":9,"service_tier":"default","total_tokens":1354}',1795639456569160);
INSERT INTO "token_usages" VALUES(4,'01a21473-b342-75e5-890a-198c7f4e6516','01a21473-b341-78c8-88d0-c5f58f8e0578','msg_r1a21473ad2dfake000004000',120,34,1000,200,'{"cache_ephemeral_1h_input":0,"cache_ephemeral_5m_input":200,"model":"claude-x","output_thinking":9,"service_tier":"standard"}',1795639456578383);
INSERT INTO "token_usages" VALUES(5,'01a21473-b34c-706f-8c3c-9c1d94846400','01a21473-b34b-74d6-8429-91432aff83eb','chatcmpl-r1a21473ad2dfake000005000',120,34,1000,200,'{"completion_accepted_prediction":0,"completion_audio":0,"completion_reasoning":9,"completion_rejected_prediction":0,"model":"gpt-x","prompt_audio":0,"service_tier":"default"}',1795639456588026);
INSERT INTO "token_usages" VALUES(6,'01a21473-b355-7141-a54e-c8e42c12e88e','01a21473-b354-71a6-a95f-58632dc811a2','resp_r1a21473ad2dfake000006000',120,34,1000,200,'{"model":"gpt-y","output_reasoning":9,"service_tier":"default","total_tokens":1354}',1795639456597080);
INSERT INTO "token_usages" VALUES(7,'01a21473-b36b-705a-8a2f-024188334d4c','01a21473-b36a-70f7-981e-be0f5ad569d9','msg_r1a21473ad2dfake000008000',12,1,0,0,'{"cache_ephemeral_1h_input":0,"cache_ephemeral_5m_input":0,"model":"claude-x","output_thinking":0,"partial":true,"service_tier":"standard"}',1795639456619020);
INSERT INTO "token_usages" VALUES(8,'01a21473-b571-7d41-b0bc-b7eaa9f7690a','01a21473-b37d-7b17-8c98-68a01e669881','msg_r1a21473ad2dfake000010000',12,1,0,0,'{"cache_ephemeral_1h_input":0,"cache_ephemeral_5m_input":0,"model":"claude-x","output_thinking":0,"partial":true,"service_tier":"standard"}',1795639457137861);
INSERT INTO "token_usages" VALUES(9,'01a21473-b579-7e0a-94f9-0235a630950b','01a21473-b579-7345-a1fd-db4daa13d5f9','msg_r1a21473ad2dfake000011000',7,6,0,0,'{"cache_ephemeral_1h_input":0,"cache_ephemeral_5m_input":0,"model":"claude-x","output_thinking":0,"service_tier":"standard"}',1795639457145917);
INSERT INTO "token_usages" VALUES(10,'01a21473-b609-733a-9ade-0fa7070ecfb4','01a21473-b608-7351-9b49-2b18889b8c44','chatcmpl-r1a21473ad2dfake000012000',720,14,0,0,'{"completion_accepted_prediction":0,"completion_audio":0,"completion_reasoning":0,"completion_rejected_prediction":0,"model":"gpt-x","prompt_audio":0,"service_tier":"default"}',1795639457289210);
CREATE TABLE tool_inputs (
    seq   INTEGER PRIMARY KEY,
    input TEXT NOT NULL
) STRICT;
INSERT INTO "tool_inputs" VALUES(1,'{"path":"."}');
INSERT INTO "tool_inputs" VALUES(2,'{"path":".."}');
INSERT INTO "tool_inputs" VALUES(3,'{"path":"."}');
INSERT INTO "tool_inputs" VALUES(4,'{"path":".."}');
INSERT INTO "tool_inputs" VALUES(5,'{"path":"."}');
INSERT INTO "tool_inputs" VALUES(6,'{"path":".."}');
INSERT INTO "tool_inputs" VALUES(7,'{"path":"."}');
INSERT INTO "tool_inputs" VALUES(8,'{"path":".."}');
INSERT INTO "tool_inputs" VALUES(9,'{"path":"."}');
INSERT INTO "tool_inputs" VALUES(10,'{"path":".."}');
INSERT INTO "tool_inputs" VALUES(11,'{"path":"."}');
INSERT INTO "tool_inputs" VALUES(12,'{"path":".."}');
CREATE TABLE tool_usages (
    seq              INTEGER PRIMARY KEY,
    record_id        TEXT    NOT NULL UNIQUE,
    interception_id  TEXT    NOT NULL,
    msg_id           TEXT    NOT NULL,
    tool_call_id     TEXT    NOT NULL,
    item_id          TEXT    NOT NULL,
    server_url       TEXT,
    tool             TEXT    NOT NULL,
    injected         INTEGER NOT NULL,
    invocation_error TEXT,
    metadata         TEXT    NOT NULL,
    created_at       INTEGER NOT NULL
) STRICT;
INSERT INTO "tool_usages" VALUES(1,'01a21473-b324-7e35-a812-005e88fbc971','01a21473-b322-79ac-8744-8308fbe0e42f','msg_r1a21473ad2dfake000001000','toolu_r1a21473ad2dfake000001000','',NULL,'list_files',0,NULL,'{}',1795639456548924);
INSERT INTO "tool_usages" VALUES(2,'01a21473-b324-7e39-ab2f-1eee640a1894','01a21473-b322-79ac-8744-8308fbe0e42f','msg_r1a21473ad2dfake000001000','toolu_r1a21473ad2dfake000001001','',NULL,'list_files',0,NULL,'{}',1795639456548924);
INSERT INTO "tool_usages" VALUES(3,'01a21473-b32e-7a47-a903-dd21d9c11f27','01a21473-b32d-7478-85b9-395ad64fcbed','chatcmpl-r1a21473ad2dfake000002000','call_r1a21473ad2dfake000002000','',NULL,'list_files',0,NULL,'{}',1795639456558668);
INSERT INTO "tool_usages" VALUES(4,'01a21473-b32e-7a4c-81a2-54bf59d0f49d','01a21473-b32d-7478-85b9-395ad64fcbed','chatcmpl-r1a21473ad2dfake000002000','call_r1a21473ad2dfake000002001','',NULL,'list_files',0,NULL,'{}',1795639456558668);
INSERT INTO "tool_usages" VALUES(5,'01a21473-b339-7287-a159-cf83619b95b9','01a21473-b337-7bea-9c3a-62ee6f70daf3','resp_r1a21473ad2dfake000003000','call_r1a21473ad2dfake000003000','fc_r1a21473ad2dfake000003000',NULL,'list_files',0,NULL,'{}',1795639456569160);
INSERT INTO "tool_usages" VALUES(6,'01a21473-b339-728c-b200-c549f8a627b0','01a21473-b337-7bea-9c3a-62ee6f70daf3','resp_r1a21473ad2dfake000003000','call_r1a21473ad2dfake000003001','fc_r1a21473ad2dfake000003001',NULL,'list_files',0,NULL,'{}',1795639456569160);
INSERT INTO "tool_usages" VALUES(7,'01a21473-b342-75f5-9783-1f39eb49a2a7','01a21473-b341-78c8-88d0-c5f58f8e0578','msg_r1a21473ad2dfake000004000','toolu_r1a21473ad2dfake000004000','',NULL,'list_files',0,NULL,'{}',1795639456578383);
INSERT INTO "tool_usages" VALUES(8,'01a21473-b342-75f9-aef0-b1fb08a0e7cc','01a21473-b341-78c8-88d0-c5f58f8e0578','msg_r1a21473ad2dfake000004000','toolu_r1a21473ad2dfake000004001','',NULL,'list_files',0,NULL,'{}',1795639456578383);
INSERT INTO "tool_usages" VALUES(9,'01a21473-b34c-707f-b4ae-e6012b1b6bda','01a21473-b34b-74d6-8429-91432aff83eb','chatcmpl-r1a21473ad2dfake000005000','call_r1a21473ad2dfake000005000','',NULL,'list_files',0,NULL,'{}',1795639456588026);
INSERT INTO "tool_usages" VALUES(10,'01a21473-b34c-7084-84d8-fcd1076ac871','01a21473-b34b-74d6-8429-91432aff83eb','chatcmpl-r1a21473ad2dfake000005000','call_r1a21473ad2dfake000005001','',NULL,'list_files',0,NULL,'{}',1795639456588026);
INSERT INTO "tool_usages" VALUES(11,'01a21473-b355-714f-8024-3c45e1af68f1','01a21473-b354-71a6-a95f-58632dc811a2','resp_r1a21473ad2dfake000006000','call_r1a21473ad2dfake000006000','fc_r1a21473ad2dfake000006000',NULL,'list_files',0,NULL,'{}',1795639456597080);
INSERT INTO "tool_usages" VALUES(12,'01a21473-b355-7154-adbb-e8b6f4b6733a','01a21473-b354-71a6-a95f-58632dc811a2','resp_r1a21473ad2dfake000006000','call_r1a21473ad2dfake000006001','fc_r1a21473ad2dfake000006001',NULL,'list_files',0,NULL,'{}',1795639456597080);
CREATE TABLE users (
    id         TEXT    NOT NULL PRIMARY KEY,
    username   TEXT    NOT NULL UNIQUE,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "users" VALUES('08af3d5d-0d39-4468-be7e-6a2ab36c398d','bob',1795639456534550);
INSERT INTO "users" VALUES('e7a77c68-f278-4c8d-ba1c-f663583ba057','ada',1795639456520760);
CREATE INDEX interceptions_by_start ON interceptions (started_at, id);
CREATE INDEX interceptions_by_initiator ON interceptions (initiator_id, started_at, id);
CREATE INDEX token_usages_by_interception ON token_usages (interception_id);
CREATE INDEX prompt_usages_by_interception ON prompt_usages (interception_id);
CREATE INDEX tool_usages_by_interception ON tool_usages (interception_id);
CREATE INDEX model_thoughts_by_interception ON model_thoughts (interception_id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('goose_db_version',3);
COMMIT;
