ALTER TABLE "attempts" ADD COLUMN "estimated_start_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "jobs" ADD COLUMN "retry_of" uuid;--> statement-breakpoint
ALTER TABLE "jobs" ADD COLUMN "not_before" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "jobs" ADD COLUMN "retry_policy" jsonb;--> statement-breakpoint
ALTER TABLE "jobs" ADD COLUMN "retry_counts" jsonb DEFAULT '{}'::jsonb NOT NULL;--> statement-breakpoint
ALTER TABLE "jobs" ADD COLUMN "retry_decided_for" integer DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "jobs" ADD CONSTRAINT "jobs_retry_of_jobs_id_fk" FOREIGN KEY ("retry_of") REFERENCES "public"."jobs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "jobs_undecided" ON "jobs" USING btree ("cluster","id") WHERE state = 'FAILED' and retry_decided_for < attempt_count;--> statement-breakpoint
CREATE INDEX "jobs_retry_of" ON "jobs" USING btree ("retry_of") WHERE retry_of is not null;--> statement-breakpoint
-- What failed before there were policies is not to be tried again because there is one now.
UPDATE "jobs" SET "retry_decided_for" = "attempt_count";
