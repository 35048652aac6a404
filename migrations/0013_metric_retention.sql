CREATE TABLE "projects" (
	"name" text PRIMARY KEY NOT NULL,
	"exact_days" integer,
	"points_per_series" integer NOT NULL
);
--> statement-breakpoint
ALTER TABLE "jobs" ADD COLUMN "rolled_up_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "metric_series" ADD COLUMN "rolled_up_below_step" bigint;--> statement-breakpoint
ALTER TABLE "metric_series" ADD COLUMN "rolled_up_level" smallint;--> statement-breakpoint
CREATE INDEX "jobs_exact" ON "jobs" USING btree ("experiment_id","finished_at") WHERE harvested_at is not null and (rolled_up_at is null or rolled_up_at < finished_at);--> statement-breakpoint
CREATE INDEX "metric_series_rolled_up" ON "metric_series" USING btree ("job_id") WHERE rolled_up_below_step is not null;