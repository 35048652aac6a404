CREATE TABLE "metric_buckets" (
	"job_id" uuid NOT NULL,
	"series_number" integer NOT NULL,
	"level" smallint NOT NULL,
	"bucket" bigint NOT NULL,
	"point_count" bigint NOT NULL,
	"finite_count" bigint NOT NULL,
	"value_sum" double precision,
	"least" double precision[],
	"greatest" double precision[],
	"non_finite" double precision[],
	CONSTRAINT "metric_buckets_job_id_series_number_level_bucket_pk" PRIMARY KEY("job_id","series_number","level","bucket")
) PARTITION BY HASH ("job_id");
--> statement-breakpoint
ALTER TABLE "metric_series" ADD COLUMN "bucket_shift" smallint;--> statement-breakpoint
ALTER TABLE "metric_series" ADD COLUMN "bucketed_below_step" bigint;--> statement-breakpoint
ALTER TABLE "metric_points" RENAME TO "metric_points_whole";--> statement-breakpoint
ALTER TABLE "metric_points_whole" DROP CONSTRAINT "metric_points_job_id_series_number_step_attempt_number_pk";--> statement-breakpoint
CREATE TABLE "metric_points" (
	"job_id" uuid NOT NULL,
	"series_number" integer NOT NULL,
	"step" bigint NOT NULL,
	"attempt_number" integer NOT NULL,
	"value" double precision NOT NULL,
	"time" timestamp with time zone NOT NULL,
	CONSTRAINT "metric_points_job_id_series_number_step_attempt_number_pk" PRIMARY KEY("job_id","series_number","step","attempt_number")
) PARTITION BY HASH ("job_id");
--> statement-breakpoint
DO $$ BEGIN
	FOR remainder IN 0..7 LOOP
		EXECUTE format('CREATE TABLE metric_points_%s PARTITION OF metric_points FOR VALUES WITH (MODULUS 8, REMAINDER %s)', remainder, remainder);
		EXECUTE format('CREATE TABLE metric_buckets_%s PARTITION OF metric_buckets FOR VALUES WITH (MODULUS 8, REMAINDER %s)', remainder, remainder);
	END LOOP;
END $$;--> statement-breakpoint
INSERT INTO "metric_points" SELECT "job_id", "series_number", "step", "attempt_number", "value", "time" FROM "metric_points_whole";--> statement-breakpoint
DROP TABLE "metric_points_whole";
