DROP INDEX "jobs_queue";--> statement-breakpoint
ALTER TABLE "clusters" ADD COLUMN "breaker" jsonb;--> statement-breakpoint
ALTER TABLE "clusters" ADD COLUMN "queue_waits" jsonb DEFAULT '[]'::jsonb NOT NULL;--> statement-breakpoint
ALTER TABLE "jobs" ADD COLUMN "lane" text GENERATED ALWAYS AS (coalesce(resources->>'partition', '') || '|' || coalesce(resources->>'account', '') || '|' || coalesce(resources->>'qos', '')) STORED NOT NULL;--> statement-breakpoint
CREATE INDEX "jobs_queue" ON "jobs" USING btree ("cluster","lane","priority" DESC NULLS LAST,"id") WHERE state = 'QUEUED';