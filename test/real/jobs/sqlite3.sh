# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
# needs: sqlite3
rows=$((8000 * n))
sqlite3 -batch -bail file.db <<END
.mode list
PRAGMA page_size = 1024;
PRAGMA cache_size = 100;
PRAGMA journal_mode = WAL;
CREATE TABLE item(id INTEGER PRIMARY KEY, k INT, v REAL, name TEXT, blob BLOB);
BEGIN;
WITH RECURSIVE r(i, x) AS (SELECT 1, 42 UNION ALL
	SELECT i + 1, (x * 1103515245 + 12345) % 2147483648 FROM r LIMIT $rows)
INSERT INTO item SELECT i, x % 997, x / 1000.0, 'name' || (x % 10007), unhex FROM
	(SELECT i, x, CAST(printf('%08x%08x', x, i * 7) AS BLOB) AS unhex FROM r);
COMMIT;
CREATE INDEX by_k ON item(k);
CREATE UNIQUE INDEX by_name ON item(name, id);
ANALYZE;
SELECT count(*), sum(k), min(v), max(v), total(v), group_concat(DISTINCT k % 7) FROM item;
SELECT k, count(*) AS c, avg(v), max(name) FROM item GROUP BY k ORDER BY c DESC, k LIMIT 20;
SELECT a.name, b.id, a.v - b.v FROM item a JOIN item b ON a.name = b.name AND a.id < b.id ORDER BY 1, 2 LIMIT 40;
SELECT sum(length(x)) FROM (SELECT a.name || b.name AS x FROM item a, item b WHERE a.k = b.k AND a.id % 17 = 3);
SELECT id, v, sum(v) OVER (PARTITION BY k % 5 ORDER BY id ROWS 3 PRECEDING), rank() OVER (ORDER BY k) FROM item
	WHERE id % 211 = 0;
CREATE TRIGGER moved AFTER UPDATE ON item BEGIN UPDATE item SET k = k + 1 WHERE id = NEW.id + 1; END;
UPDATE item SET v = v * 1.5 WHERE k BETWEEN 100 AND 120;
DELETE FROM item WHERE name LIKE '%77%' OR name GLOB '*1[3-5]*';
SELECT changes(), total_changes();
SELECT upper(substr(name, 3)), hex(blob), round(v, 2), printf('%.10g|%e', v, v), instr(name, '9') FROM item
	ORDER BY blob LIMIT 50;
CREATE VIRTUAL TABLE words USING fts5(body);
INSERT INTO words SELECT group_concat(name, ' ') FROM item GROUP BY k;
SELECT rowid, snippet(words, 0, '[', ']', '..', 5) FROM words WHERE words MATCH 'name1* NOT name2222' LIMIT 10;
SELECT json_group_array(json_object('k', k, 'v', v)) FROM (SELECT k, v FROM item ORDER BY id LIMIT 30);
VACUUM;
PRAGMA integrity_check;
SELECT sum(k), count(*), sum(id * k % 1009) FROM item;
.sha3sum
END
sqlite3 file.db .dump | sha256sum
