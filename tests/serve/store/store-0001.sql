BEGIN TRANSACTION;
CREATE TABLE sri_schema (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT sri_schema_pkc PRIMARY KEY (version_num)
);
INSERT INTO "sri_schema" VALUES('0001');
CREATE TABLE sri_sources (
	tenant TEXT NOT NULL, 
	source TEXT NOT NULL, 
	seen_at BIGINT NOT NULL, 
	verdicts BIGINT NOT NULL, 
	verdict_at BIGINT, 
	heartbeat_at BIGINT, 
	pid BIGINT, 
	sent BIGINT, 
	dropped BIGINT, 
	waiting BIGINT, 
	generations BIGINT, 
	without_verdict BIGINT, 
	unwatched_since BIGINT, 
	canary TEXT, 
	canary_at BIGINT, 
	PRIMARY KEY (tenant, source)
);
INSERT INTO "sri_sources" VALUES('','gpu-1',1007200000,4,1007200000,1007200000,7,4,0,0,NULL,NULL,NULL,'{"status":"flagged"}',1007200000);
INSERT INTO "sri_sources" VALUES('x','gpu-1',1000000000,1,1000000000,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "sri_sources" VALUES('x','gpu-2',1007200000,1,1007200000,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE sri_totals (
	id INTEGER NOT NULL, 
	rows BIGINT NOT NULL, 
	size BIGINT NOT NULL, 
	ids TEXT, 
	PRIMARY KEY (id), 
	CONSTRAINT sri_totals_has_one_row CHECK (id = 1)
);
INSERT INTO "sri_totals" VALUES(1,6,1867,'plain');
CREATE TABLE sri_verdicts (
	seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	tenant TEXT NOT NULL, 
	"key" TEXT NOT NULL, 
	source TEXT NOT NULL, 
	received_at BIGINT NOT NULL, 
	status TEXT NOT NULL, 
	severity SMALLINT NOT NULL, 
	rule TEXT NOT NULL, 
	bundle TEXT, 
	score FLOAT, 
	p_value FLOAT, 
	verdict TEXT NOT NULL, 
	digest BLOB NOT NULL, 
	size INTEGER NOT NULL
);
INSERT INTO "sri_verdicts" VALUES(1,'','a','gpu-1',1000000000,'clear',0,'final','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb',0.5,NULL,'{"accepted":[],"bundle":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb","first_alarm_step":null,"p_value":null,"reasons":[],"request_id":"a","rule":"final","schema":1,"score":0.5,"status":"clear","steps_expected":null,"steps_seen":null,"threshold":1.0}',X'AF43DC715C6621831BE3A83BF101133108F35358858E45DCC002D5A2D23D8138',277);
INSERT INTO "sri_verdicts" VALUES(2,'x','b','gpu-1',1000000000,'flagged',3,'final','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb',1.5,NULL,'{"accepted":[],"bundle":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb","first_alarm_step":null,"p_value":null,"reasons":["score_above_threshold"],"request_id":"b","rule":"final","schema":1,"score":1.5,"status":"flagged","steps_expected":null,"steps_seen":null,"threshold":1.0}',X'3081C6A0C4D7CCB9839FFD1B2DB888A92A922569181D1746B11BC295326FBF85',303);
INSERT INTO "sri_verdicts" VALUES(3,'x','b','gpu-2',1007200000,'clear',0,'final','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb',0.25,NULL,'{"accepted":[],"bundle":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb","first_alarm_step":null,"p_value":null,"reasons":[],"request_id":"b","rule":"final","schema":1,"score":0.25,"status":"clear","steps_expected":null,"steps_seen":null,"threshold":1.0}',X'80CEEB69454A74C1E9F97E54A2C398CA57930586010231B947469B8C64087401',279);
INSERT INTO "sri_verdicts" VALUES(4,'x','c','',1007200000,'unmonitored',2,'final',NULL,NULL,NULL,'{"accepted":[],"bundle":null,"first_alarm_step":null,"p_value":null,"reasons":["tap_silent","no_steps"],"request_id":"c","rule":"final","schema":1,"score":null,"status":"unmonitored","steps_expected":null,"steps_seen":null,"threshold":null}',X'09999B017B15454FCD5CAE0ACAAA1F5FD225A757D21D5EF63C97DD1BF4B7E732',242);
INSERT INTO "sri_verdicts" VALUES(5,'','d','gpu-1',1007200000,'flagged',3,'final','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb',2.0,NULL,'{"accepted":[],"bundle":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb","ended":null,"first_alarm_step":null,"group":null,"judged_steps":null,"p_value":null,"parts":[{"name":"map","p_value":0.01,"reason":"request_harmful","score":2.0,"status":"flagged","threshold":1.0}],"reasons":["Words of one''s own!"],"request_id":"d","rule":"final","schema":2,"score":2.0,"status":"flagged","steps_expected":null,"steps_seen":null,"threshold":1.0}',X'735FCB3500584D22A3761DE7EEE0C6221900DC50ADA377C801DA15B6F48F8C0D',460);
INSERT INTO "sri_verdicts" VALUES(6,'','é 𝄞','gpu-1',1007200000,'not_sampled',1,'final','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb',NULL,NULL,'{"accepted":[],"bundle":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb","first_alarm_step":null,"p_value":null,"reasons":["not_sampled"],"request_id":"é 𝄞","rule":"final","schema":1,"score":null,"status":"not_sampled","steps_expected":null,"steps_seen":null,"threshold":null}',X'BE3EBD1CED20CA49AAC11D97B6D567E6F344859A9E4FA03C2CA1DD59D1F88E60',306);
CREATE UNIQUE INDEX sri_verdicts_digest ON sri_verdicts (digest);
CREATE INDEX sri_verdicts_by_key ON sri_verdicts ("key", tenant, severity, seq);
CREATE INDEX sri_verdicts_by_age ON sri_verdicts (received_at);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('sri_verdicts',7);
COMMIT;
