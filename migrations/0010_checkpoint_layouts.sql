ALTER TABLE "checkpoints" ALTER COLUMN "epoch" SET DATA TYPE double precision;--> statement-breakpoint
ALTER TABLE "checkpoints" ADD COLUMN "layout" text;--> statement-breakpoint
ALTER TABLE "checkpoints" ADD COLUMN "step_source" text;--> statement-breakpoint
ALTER TABLE "checkpoints" ADD COLUMN "step_confidence" text;--> statement-breakpoint
ALTER TABLE "checkpoints" ADD COLUMN "epoch_source" text;--> statement-breakpoint
ALTER TABLE "checkpoints" ADD COLUMN "epoch_confidence" text;--> statement-breakpoint
ALTER TABLE "checkpoints" ADD COLUMN "logged_metrics" jsonb;--> statement-breakpoint
ALTER TABLE "checkpoints" ADD COLUMN "is_declared" boolean DEFAULT false NOT NULL;--> statement-breakpoint
CREATE INDEX "checkpoints_logged_metrics" ON "checkpoints" USING btree ("job_id") WHERE logged_metrics is not null;